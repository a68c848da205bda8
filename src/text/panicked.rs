//! What a panic that was caught says.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Returns the message of a panic, as far as it has one.
pub fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Calls code of others, which may panic.
///
/// # Errors
/// It panicked; this is its message. What was thrown is gone by then, even if its `Drop` panics.
pub fn catch<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| {
        let message = message_of(&*panic).to_owned();
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(again);
        }
        message
    })
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    struct Again;

    impl Drop for Again {
        fn drop(&mut self) {
            panic!("again");
        }
    }

    // Red when what was thrown is dropped outside of a second `catch_unwind`: its panic gets through.
    #[test]
    fn a_panic_is_its_message_whatever_was_thrown() {
        assert_eq!(catch(|| 1), Ok(1));
        assert_eq!(catch(|| panic!("text")), Err::<(), _>("text".to_owned()));
        assert_eq!(catch(|| panic!("number {}", 1)), Err::<(), _>("number 1".to_owned()));
        assert_eq!(catch(|| panic_any(Again)), Err::<(), _>("no message".to_owned()));
    }
}
