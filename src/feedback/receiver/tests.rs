use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{
    feedback::{
        EventBody,
        signature::{SignatureError, sign},
    },
    policy::Level,
};

const NOW: u64 = 1_700_000_000;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn secret() -> WebhookSecret {
    SECRET.parse().unwrap()
}

/// The headers and the body of a request.
#[derive(Clone, Debug)]
struct Message {
    headers: [(&'static str, Vec<u8>); 3],
    body: Vec<u8>,
}

impl Message {
    fn new(id: &str, body: Vec<u8>) -> Self {
        let signature = sign(&[secret()], id, NOW, &body);
        let headers = [
            (SignedHeaders::ID, id.into()),
            (SignedHeaders::TIMESTAMP, NOW.to_string().into()),
            (SignedHeaders::SIGNATURE, signature.into()),
        ];
        Self { headers, body }
    }

    fn of(event: &EventBody) -> Self {
        Self::new(&event.id, serde_json::to_vec(event).unwrap())
    }

    fn sent_to(&self, receiver: &Receiver) -> Result<Outcome, Refused> {
        let header = |name: &str| {
            let (_, value) = self.headers.iter().find(|(known, _)| *known == name)?;
            std::str::from_utf8(value).ok()
        };
        receiver.shared.receive(header, &self.body, NOW).map(|(outcome, _)| outcome)
    }
}

fn event(source: &str, epoch: u64, seq: u64) -> EventBody {
    EventBody {
        id: FeedbackEvent::id_of(source, "bars", None, epoch, seq),
        level: Level::Hard,
        reason: Reason::QueueHigh,
        epoch,
        seq,
        ..EventBody::clone(&FeedbackEvent::before_any(source, "bars"))
    }
}

fn receiver() -> Receiver {
    Receiver::signed(Feedback::private(), [secret()])
}

// Red when the event is changed on its way, or a repeat or a stale one is published.
#[test]
fn an_event_comes_out_as_it_was_sent_and_once() {
    let receiver = receiver();
    let level = receiver.feedback().watch("db1/bars");
    let sent = EventBody { drain_rate: Some(0.1), utilization: 0.3, ..event("db1", 7, 3) };
    let message = Message::of(&sent);
    assert_eq!(message.sent_to(&receiver), Ok(Outcome::Accepted));
    let snapshot = futures::executor::block_on(receiver.feedback().snapshot()).unwrap();
    assert_eq!(**level.borrow(), sent);
    assert_eq!(message.sent_to(&receiver), Ok(Outcome::Repeated));
    // The same under another id is a sign of life, an older event is none.
    let body = serde_json::to_vec(&sent).unwrap();
    assert_eq!(Message::new("other", body).sent_to(&receiver), Ok(Outcome::Alive));
    assert_eq!(Message::of(&event("db1", 7, 2)).sent_to(&receiver), Ok(Outcome::Stale));
    assert_eq!(Message::of(&event("db1", 6, 9)).sent_to(&receiver), Ok(Outcome::Stale));
    // A repeated id is a repeat, whatever it carries.
    let under_its_id = Message::new(&sent.id, serde_json::to_vec(&event("db2", 9, 9)).unwrap());
    assert_eq!(under_its_id.sent_to(&receiver), Ok(Outcome::Repeated));
    let after = futures::executor::block_on(receiver.feedback().snapshot()).unwrap();
    // The bus is told of what is stale, so that it is counted and warned of by name.
    assert_eq!((after.events, after.stale), (snapshot.events, 2));
}

// Red when a level of a newer version is lost because of a reason, or of a field, that this version does not know.
#[test]
fn an_event_of_a_reason_that_is_not_known_is_published() {
    let receiver = receiver();
    let level = receiver.feedback().watch("db1/bars");
    let event = event("db1", 7, 3);
    let text = serde_json::to_string(&event).unwrap();
    let text = text.replace(r#""queue_high""#, r#""a_later_one""#).replacen('{', r#"{"region":"eu","#, 1);
    assert_eq!(Message::new(&event.id, text.into_bytes()).sent_to(&receiver), Ok(Outcome::Accepted));
    futures::executor::block_on(receiver.feedback().idle());
    assert_eq!((level.borrow().level, level.borrow().reason), (Level::Hard, Reason::Other));
}

// Red when a check is left out: each of these would cost memory without end, or silence or mix up coordinators.
#[test]
fn what_no_coordinator_sends_is_refused() {
    let receiver = receiver();
    let good = event("db1", 7, 3);
    let wrong = [
        EventBody { id: "x".repeat(256), ..good.clone() },
        EventBody { source: "x".repeat(256).into(), ..good.clone() },
        EventBody { source: "".into(), ..good.clone() },
        EventBody { source: "db1\n".into(), ..good.clone() },
        EventBody { coordinator_id: "x".repeat(256).into(), ..good.clone() },
        EventBody { coordinator_id: "".into(), ..good.clone() },
        EventBody { coordinator_id: "a/bars".into(), ..good.clone() },
        EventBody { seq: 0, ..good.clone() },
        EventBody { instance: Some("0123456789abcde".into()), ..good.clone() },
        EventBody { instance: Some("0123456789abcdeg".into()), ..good.clone() },
        EventBody { refresh: Some(Duration::ZERO), ..good.clone() },
        EventBody { level: Level::Soft, reason: Reason::Silent, ..good.clone() },
    ];
    for wrong in &wrong {
        let body = serde_json::to_vec(wrong).unwrap();
        let refused = Message::new("a", body).sent_to(&receiver).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.outcome()), (400, Outcome::Malformed), "{wrong:?}");
    }
    let long_id = Message::new(&"x".repeat(256), serde_json::to_vec(&good).unwrap());
    assert_eq!(long_id.sent_to(&receiver).unwrap_err().status().as_u16(), 400);
    let text = serde_json::to_string(&good).unwrap();
    let no_events = [
        String::new(),
        "null".into(),
        format!("{text} x"),
        format!("[{text}]"),
        text.replace("hard", "HARD"),
        text.replace(r#""seq":3,"#, ""),
        text.replace(r#""seq":3"#, r#""seq":3,"seq":4"#),
        text.replace(r#""seq":3"#, r#""seq":-3"#),
        text.replace(r#""retry_after":null"#, r#""retry_after":-1"#),
    ];
    for text in &no_events {
        let refused = Message::new("a", text.clone().into_bytes()).sent_to(&receiver).unwrap_err();
        assert!(matches!(refused, Refused::NoEvent { .. }), "{text}");
        assert_eq!(refused.status().as_u16(), 400);
    }
    assert_eq!(Message::new("a", vec![b'"', 0xff]).sent_to(&receiver).unwrap_err().status().as_u16(), 400);
    // A field that a later version adds is no reason.
    let later = text.replace(r#""seq":3"#, r#""seq":3,"region":"eu""#);
    assert_eq!(Message::new("a", later.into_bytes()).sent_to(&receiver), Ok(Outcome::Accepted));
    assert_eq!(receiver.snapshot().coordinators, 1);
}

// Red when a refusal shows what was in the body or in a signature: it goes to the log.
#[test]
fn a_refusal_says_nothing_of_what_was_sent() {
    let receiver = receiver();
    let text = serde_json::to_string(&event("db1", 7, 3)).unwrap().replace("hard", "TOPSECRET");
    let refused = Message::new("a", text.into_bytes()).sent_to(&receiver).unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains("TOPSECRET"), "{refused:?}");
    let mut forged = Message::of(&event("db1", 7, 3));
    forged.headers[2].1 = b"v1,TOPSECRET".to_vec();
    let refused = forged.sent_to(&receiver).unwrap_err();
    assert_eq!(refused, Refused::Signature(SignatureError::NoMatch));
    assert!(!format!("{refused} {refused:?} {receiver:?}").contains("TOPSECRET"));
}

// Red when a coordinator beyond the bound costs memory, or shuts out one that is known.
#[test]
fn there_is_room_for_so_many_coordinators() {
    let receiver = receiver();
    let known = Receiver::COORDINATORS.get();
    for source in 0..known {
        assert_eq!(Message::of(&event(&source.to_string(), 7, 1)).sent_to(&receiver), Ok(Outcome::Accepted));
    }
    let refused = Message::of(&event("more", 7, 1)).sent_to(&receiver).unwrap_err();
    assert_eq!((refused, refused.status().as_u16()), (Refused::NoRoom, 503));
    assert_eq!(Message::of(&event("0", 7, 2)).sent_to(&receiver), Ok(Outcome::Accepted));
    assert_eq!(receiver.snapshot().coordinators, known);
}

// Red when an event is taken that reaches no subscriber: its sender would not send it again.
#[cfg(feature = "testing")]
#[test]
fn nothing_is_accepted_for_a_bus_that_has_stopped() {
    let receiver = receiver();
    receiver.feedback().fault().arm(1);
    receiver.feedback().publish(event("db1", 7, 1).into());
    futures::executor::block_on(receiver.feedback().stopped());
    let message = Message::of(&event("db1", 7, 3));
    for _ in 0..2 {
        let refused = message.sent_to(&receiver).unwrap_err();
        assert_eq!((refused, refused.status().as_u16()), (Refused::BusStopped, 503));
    }
}

// Red when an outcome is counted in another's place.
#[test]
fn outcomes_are_in_the_order_of_their_numbers() {
    for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, number);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    // Whatever is changed in what was signed, or left out. Red when a header is not part of what is verified, or a
    // signature in another form than the one that was sent passes.
    #[test]
    fn a_message_that_was_changed_is_never_accepted(
        part in 0usize..4, at in any::<prop::sample::Index>(), change in 1u8.., how in 0u8..3,
    ) {
        let receiver = Receiver::signed(FEEDBACK.clone(), [secret()]);
        let mut message = Message::of(&event("db1", 7, 3));
        let bytes = message.headers.get_mut(part).map_or(&mut message.body, |(_, value)| value);
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] ^= change,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, change),
        }
        // A space before or behind a signature ends it, and is no part of it.
        prop_assume!(part != 2 || how != 2 || change != b' ');
        let received = message.sent_to(&receiver);
        prop_assert!(received.is_err(), "{received:?}: {message:?}");
        prop_assert_eq!(receiver.snapshot().coordinators, 0);
    }
}

fn cases() -> u32 {
    std::env::var("MDS_TEST_RECEIVER_CASES").map_or(2_000, |cases| cases.parse().expect("a number"))
}

/// One for all cases: nothing may reach it.
static FEEDBACK: LazyLock<Feedback> = LazyLock::new(Feedback::private);
