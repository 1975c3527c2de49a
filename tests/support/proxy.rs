//! Proxies that ask for a name and a password, and carry every connection to one server, whatever name they are asked for.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::tcp_server::TcpServer;

/// What the proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// `CONNECT`, with credentials in a header.
    Http,
    /// RFC 1928 with RFC 1929.
    Socks5,
}

/// The running proxy; it ends when dropped.
pub struct Proxy {
    listening: TcpServer,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy that leads to this server.
    pub fn to(server: SocketAddr, speaks: Speaks) -> Proxy {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&asked);
        // An error here is a client or a server that hangs up.
        let listening = TcpServer::start(move |client, _| _ = serve(client, server, speaks, &kept));
        Proxy { listening, asked }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// What each connection asked for, and the credentials it showed.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    client: TcpStream,
    server: SocketAddr,
    speaks: Speaks,
    asked: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let (wish, yes) = match speaks {
        Speaks::Http => (http(&client)?, &b"HTTP/1.1 200 Connection established\r\n\r\n"[..]),
        Speaks::Socks5 => (socks5(&client)?, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0][..]),
    };
    asked.lock().unwrap().push(wish);
    let server = TcpStream::connect(server)?;
    (&client).write_all(yes)?;
    let back = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || carry(back.0, back.1));
    carry(client, server);
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    _ = io::copy(&mut from, &mut to);
    _ = to.shutdown(Shutdown::Both);
}

/// The host and port of a `CONNECT`, and its credentials as they came.
fn http(client: &TcpStream) -> io::Result<String> {
    // Nothing follows the head before it is answered, so nothing is lost in the buffer.
    let mut lines = BufReader::new(client).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut wish = first.split(' ').nth(1).unwrap_or_default().to_owned();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((_, credentials)) = line.split_once("roxy-Authorization: ") {
            wish += &format!(" {credentials}");
        }
    }
    Ok(wish)
}

/// The host and port, and the name and password.
fn socks5(client: &TcpStream) -> io::Result<String> {
    let (mut input, mut output) = (client, client);
    let mut take = |length: usize| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let methods = take(2)?[1];
    take(methods.into())?;
    output.write_all(&[5, 2])?;
    let mut text = |before: usize| -> io::Result<String> {
        let length = take(before + 1)?[before];
        Ok(String::from_utf8_lossy(&take(length.into())?).into_owned())
    };
    let (name, password) = (text(1)?, text(0)?);
    output.write_all(&[1, 0])?;
    // Only names are asked for here, not addresses.
    let host = text(4)?;
    let port = take(2)?;
    Ok(format!("{host}:{} {name}:{password}", u16::from_be_bytes([port[0], port[1]])))
}
