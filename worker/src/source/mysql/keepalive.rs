//! Asks at the level of TCP whether the other machine is still there: where another server answers under the
//! same name, nobody can ask what has become of the session (see [`crate::source::watch`]).

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Silence after which the other machine is asked.
const AFTER: Duration = Duration::from_mins(1);
/// Between questions without an answer.
const EVERY: Duration = Duration::from_secs(10);
/// How many of them end the connection.
const QUESTIONS: u32 = 6;

/// Turns it on: a machine that is gone ends the connection within some two minutes.
///
/// # Errors
/// Those of the system.
pub(super) fn keep_alive(socket: &SockRef<'_>) -> io::Result<()> {
    let asked = TcpKeepalive::new().with_time(AFTER).with_interval(EVERY).with_retries(QUESTIONS);
    socket.set_tcp_keepalive(&asked)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_uses_keepalive() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        assert!(!SockRef::from(&socket).keepalive().expect("asked"));
        keep_alive(&SockRef::from(&socket)).expect("set");
        let set = SockRef::from(&socket);
        assert!(set.keepalive().expect("asked"));
        assert_eq!(set.tcp_keepalive_time().expect("asked"), AFTER);
        assert_eq!(set.tcp_keepalive_interval().expect("asked"), EVERY);
        assert_eq!(set.tcp_keepalive_retries().expect("asked"), QUESTIONS);
    }
}
