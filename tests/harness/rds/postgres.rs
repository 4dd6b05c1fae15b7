//! Authentication of Postgres, with the password in clear text.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

/// What a client sends to ask for TLS.
const TLS_WANTED: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Asks for the password as it is.
const PASSWORD_WANTED: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

pub(super) async fn serve(
    mut near: TcpStream,
    acceptor: &TlsAcceptor,
    socket: &Path,
    check: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    let mut wanted = [0; 8];
    near.read_exact(&mut wanted).await?;
    ensure!(wanted == TLS_WANTED, "a client without TLS");
    near.write_all(b"S").await?;
    let mut near = acceptor.accept(near).await?;
    let startup = packet(&mut near, 0).await?;
    near.write_all(&PASSWORD_WANTED).await?;
    let said = packet(&mut near, 1).await?;
    ensure!(said.first() == Some(&b'p'), "no password");
    let token = String::from_utf8(said[5..said.len() - 1].to_vec())?;
    if let Err(why) = check(&token) {
        let mut answer = b"SFATAL\0C28P01\0Mno\0\0".to_vec();
        let length = u32::try_from(answer.len() + 4)?.to_be_bytes();
        answer.splice(0..0, std::iter::once(b'E').chain(length));
        near.write_all(&answer).await?;
        near.shutdown().await?;
        return Err(why);
    }
    let mut far = UnixStream::connect(socket).await.context("the server's socket")?;
    far.write_all(&startup).await?;
    let _ = copy_bidirectional(&mut near, &mut far).await;
    Ok(())
}

/// A packet whose length stands after `before` bytes.
async fn packet(from: &mut (impl AsyncReadExt + Unpin), before: usize) -> Result<Vec<u8>> {
    let mut head = vec![0; before + 4];
    from.read_exact(&mut head).await?;
    let length = u32::from_be_bytes(head[before..].try_into()?) as usize;
    ensure!((4..65_536).contains(&length), "a packet of {length} bytes");
    let mut rest = vec![0; length - 4];
    from.read_exact(&mut rest).await?;
    head.extend(rest);
    Ok(head)
}
