//! The promises of the crate, tested through its public face: one test binary, one module a subject.

mod bus;
