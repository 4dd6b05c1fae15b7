//! Sockets on which this process connects to itself.

use tokio::net::{UnixListener, UnixStream};

/// The connection of this very process.
pub(crate) async fn ours(listener: UnixListener) -> UnixStream {
    let me = i32::try_from(std::process::id()).ok();
    loop {
        if let Ok((near, _)) = listener.accept().await
            && near.peer_cred().is_ok_and(|peer| peer.pid() == me)
        {
            return near;
        }
    }
}
