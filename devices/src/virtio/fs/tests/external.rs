//! A share served by another process; how one that is there is used is for the tests of the connection.

use crate::backend::vhost_user::VhostUserError;
use crate::virtio::fs::ExternalFs;

#[test]
fn nobody_at_the_socket_and_somebody_silent_are_told() {
    let temp = tempfile::tempdir().unwrap();
    let socket = temp.path().join("socket");
    let error = ExternalFs::connect("tag", &socket).unwrap_err();
    assert!(matches!(error, VhostUserError::Connect { .. }), "{error}");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let closing = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let error = ExternalFs::connect("tag", &socket).unwrap_err();
    assert!(matches!(error, VhostUserError::Protocol { .. }), "{error}");
    assert!(error.hint().contains("back end"));
    closing.join().unwrap();
}
