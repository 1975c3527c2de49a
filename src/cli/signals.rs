//! Signals to a running service.
//!
//! - Stop: SIGTERM and SIGINT; on Windows Ctrl-C, Ctrl-Break, the closing of the console, logging
//!   off and shutting down.
//! - Read the settings again: SIGHUP. A service that was started in a terminal stops instead, as
//!   SIGHUP means there that the terminal is gone.

use std::io;
use std::sync::mpsc::Sender;

use crate::service::Wake;

/// Passes signals on from now on.
#[cfg(unix)]
pub fn listen(sender: Sender<Wake>) -> io::Result<()> {
    use std::io::IsTerminal;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let hangup = if io::stdin().is_terminal() { Wake::Stop } else { Wake::Reload };
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let listen = move || {
        for signal in signals.forever() {
            // The receiver is gone only when the service ends.
            _ = sender.send(if signal == SIGHUP { hangup } else { Wake::Stop });
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen)?;
    Ok(())
}

/// Passes signals on from now on.
#[cfg(not(unix))]
pub fn listen(sender: Sender<Wake>) -> io::Result<()> {
    let stop = move || {
        // The receiver is gone only when the service ends.
        _ = sender.send(Wake::Stop);
    };
    ctrlc::set_handler(stop).map_err(io::Error::other)
}
