//! TLS to the server, by each `sslmode`.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use futures::executor::block_on;
use market_data_store::{Bar, Database, Sink};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::server::Server;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(dir: &Path, name: &str) -> (Self, PathBuf) {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let path = dir.join(name);
        fs::write(&path, issuer.pem()).unwrap();
        (Self(issuer), path)
    }
}

// Red when a mode encrypts where it should not or the other way round, takes a certificate of another authority or for
// another name, or refuses a right one.
#[test]
fn a_connection_is_as_safe_as_its_sslmode_says() {
    let server = Server::start("");
    let place = server.database();
    let dir = tempfile::tempdir().unwrap();
    let ((authority, ca), (_, other_ca)) =
        (Authority::new(dir.path(), "ca.pem"), Authority::new(dir.path(), "other.pem"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority.0).unwrap();
    // Where the server may read it, and nobody else.
    let owner = fs::metadata(server.data()).unwrap();
    for (name, text) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let path = server.data().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    place.run("ALTER SYSTEM SET ssl = on");
    place.run("SELECT pg_reload_conf()");
    // A reload is no matter of the connection that asks for it.
    while place.number("SELECT count(*) FROM pg_settings WHERE name = 'ssl' AND setting = 'on'") == 0 {
        std::thread::yield_now();
    }

    let encrypted = |host: &str, mode: &str, ca: Option<&PathBuf>| -> Result<bool, String> {
        let root = ca.map(|path| format!("&sslrootcert={}", path.display())).unwrap_or_default();
        let url = place.url().replace("127.0.0.1", host).replace("sslmode=disable", &format!("sslmode={mode}{root}"));
        let database = Database::connect(&url).map_err(|error| error.to_string())?;
        let answer = block_on(Sink::<Bar>::ping(&database)).unwrap();
        let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                         WHERE ssl AND application_name = 'market-data-store' AND state = 'idle'";
        let is_encrypted = place.number(encrypted) == 1;
        block_on(database.close());
        answer.map(|()| is_encrypted).map_err(|error| format!("{error:#}"))
    };
    assert_eq!(encrypted("127.0.0.1", "disable", None), Ok(false));
    assert_eq!(encrypted("127.0.0.1", "prefer", None), Ok(true));
    assert_eq!(encrypted("127.0.0.1", "require", None), Ok(true));
    assert_eq!(encrypted("127.0.0.1", "verify-ca", Some(&ca)), Ok(true));
    assert_eq!(encrypted("127.0.0.1", "require", Some(&ca)), Ok(true));
    assert_eq!(encrypted("localhost", "verify-full", Some(&ca)), Ok(true));
    for (host, mode, ca, said) in [
        ("127.0.0.1", "require", Some(&other_ca), "invalid peer certificate"),
        ("127.0.0.1", "verify-ca", Some(&other_ca), "invalid peer certificate"),
        ("127.0.0.1", "verify-ca", None, "invalid peer certificate"),
        ("localhost", "verify-full", Some(&other_ca), "invalid peer certificate"),
        ("127.0.0.1", "verify-full", Some(&ca), "invalid peer certificate: certificate not valid for name"),
        ("localhost", "verify-full", Some(&dir.path().join("none.pem")), "sslrootcert: cannot read"),
        ("localhost", "allow", None, "`sslmode` that is not known"),
    ] {
        let error = encrypted(host, mode, ca).unwrap_err();
        assert!(error.contains(said), "{host} {mode}: {error}");
    }
}
