//! `posse demo listen`: the other end of the attack, inside a namespace of the demo. Serves one harmless payload over HTTP
//! and takes the beacon's calls; tells on standard output what it saw. Must never answer with anything but that payload.

use anyhow::Context as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// Bytes of a request that are looked at.
const REQUEST_BYTES_MAX: usize = 4096;

/// Listen where the arguments say: `ADDRESS:PORT`, and the payload.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let address = words.first().context("say where to listen")?;
    let payload = words.get(1).copied().unwrap_or_default().to_owned();
    let listener = TcpListener::bind(address).with_context(|| format!("`{address}` cannot be listened on"))?;
    tell(&format!("listening {}", listener.local_addr()?));
    for stream in listener.incoming().flatten() {
        let payload = payload.clone();
        std::thread::spawn(move || serve(stream, &payload));
    }
    Ok(())
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more once the demo has ended; then this process ends too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn serve(mut stream: TcpStream, payload: &str) {
    let mut bytes = [0_u8; REQUEST_BYTES_MAX];
    let (mut calls, mut request) = (0_u64, Vec::new());
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        let said = bytes.get(..count).unwrap_or_default();
        if !request.is_empty() || said.starts_with(b"GET ") {
            request.extend_from_slice(said);
            if !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
                continue;
            }
            tell("payload");
            // A client that went away got nothing.
            let _ = write!(stream, "HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n{payload}", payload.len());
            // Closing with something unread would take the answer back: the other side ends it.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            while let Ok(1..) = stream.read(&mut bytes) {}
            return;
        }
        calls += 1;
        if calls == 1 {
            tell("beacon");
        }
    }
    if calls > 0 {
        tell("silence");
    }
}
