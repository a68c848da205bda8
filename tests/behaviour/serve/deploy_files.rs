//! The files of `examples/deploy/`, as the programs see them that they are written for.

use std::{fs, path::Path, process::Command};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a tool, and returns whether it succeeded and all that it said.
fn run(tool: &str, arguments: &[&str], dir: &Path) -> (bool, String) {
    let command = Command::new(tool).args(arguments).current_dir(dir).env("NO_COLOR", "1").output();
    let output = command.unwrap_or_else(|error| panic!("{tool}: {error}: tests/setup.sh gets it"));
    (
        output.status.success(),
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat(),
    )
}

fn deploy_file(name: &str) -> String {
    fs::read_to_string(format!("{ROOT}/examples/deploy/{name}")).unwrap()
}

/// Red when the unit has a line that systemd does not know, starts what is not there, or shields less than it did.
#[test]
fn systemd_takes_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let unit = deploy_file("mds.service").replace("/usr/local/bin/mds", env!("CARGO_BIN_EXE_mds"));
    assert!(unit.contains(env!("CARGO_BIN_EXE_mds")), "{unit}");
    let verify = |unit: &str| {
        fs::write(dir.path().join("mds.service"), unit).unwrap();
        run("systemd-analyze", &["verify", "--man=no", "./mds.service"], dir.path())
    };
    assert_eq!(verify(&unit), (true, String::new()));
    // What it only warns of it lets pass, so silence is what counts.
    let (_, said) = verify(&unit.replace("TimeoutStopSec=", "TimeoutStopSecs="));
    assert!(said.contains("TimeoutStopSecs"), "{said}");

    // 0 is all that systemd can shield a service from, 100 nothing.
    let security = ["security", "--offline=true", "--no-pager", "--threshold=20", "./mds.service"];
    let (is_shielded, said) = run("systemd-analyze", &security, dir.path());
    assert!(is_shielded, "{said}");
}

/// Red when a field of the manifests has a name, a place or a type that Kubernetes does not know, in an old version or a new
/// one.
#[test]
fn kubernetes_takes_the_manifests() {
    let validate = format!("{ROOT}/target/python/bin/kubernetes-validate");
    let dir = tempfile::tempdir().unwrap();
    let manifests = deploy_file("kubernetes.yaml");
    let file = dir.path().join("kubernetes.yaml");
    for version in ["1.29", "1.37"] {
        let is_taken = |manifests: &str| {
            fs::write(&file, manifests).unwrap();
            run(&validate, &["--strict", "-k", version, "kubernetes.yaml"], dir.path())
        };
        let (is_valid, said) = is_taken(&manifests);
        assert!(is_valid && said.contains("statefulset/mds"), "{version}: {said}");
        let (is_valid, said) = is_taken(&manifests.replace("readinessProbe:", "readynessProbe:"));
        assert!(!is_valid && said.contains("readynessProbe"), "{version}: {said}");
    }
}

/// Red when hadolint has something to say of the Dockerfile.
#[test]
fn hadolint_finds_nothing_in_the_dockerfile() {
    let hadolint = format!("{ROOT}/target/python/bin/hadolint");
    let lint = |file: &str| run(&hadolint, &["--no-color", file], Path::new(ROOT));
    assert_eq!(lint("examples/deploy/Dockerfile"), (true, String::new()));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("Dockerfile");
    fs::write(&file, deploy_file("Dockerfile").replace("WORKDIR /src", "WORKDIR src")).unwrap();
    let (is_clean, said) = lint(file.to_str().unwrap());
    assert!(!is_clean && said.contains("DL3000"), "{said}");
}

/// Red when a file sets a variable that `mds` does not read, or leaves a supervisor less time than the end takes.
#[test]
fn the_files_set_variables_that_there_are_and_leave_time_for_the_end() {
    let known = fs::read_to_string(format!("{ROOT}/config.example.env")).unwrap();
    for (name, least, grace) in [
        ("mds.service", 5, "TimeoutStopSec=45"),
        ("kubernetes.yaml", 5, "terminationGracePeriodSeconds: 45"),
        ("Dockerfile", 4, "--stop-timeout 45"),
    ] {
        let text = deploy_file(name);
        assert!(text.contains(grace), "{name} does not say {grace}");
        let words = text.split(|letter: char| !letter.is_ascii_uppercase() && letter != '_');
        let variables: Vec<_> = words.filter(|word| word.starts_with("MDS_")).collect();
        assert!(variables.len() >= least, "{name}: {variables:?}");
        let unknown: Vec<_> = variables.iter().filter(|variable| !known.contains(&format!("\n#{variable}="))).collect();
        assert_eq!(unknown, [&""; 0], "{name}");
    }
}
