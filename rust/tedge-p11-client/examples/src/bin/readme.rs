//! The Rust of the project's README, as it stands there, and a handshake with what it returns: the arguments are HOST and
//! PORT, all else is where it is on a device.

include!(concat!(env!("OUT_DIR"), "/readme.rs"));

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [host, port] = <[String; 2]>::try_from(args).map_err(|_| "arguments: HOST PORT")?;
    let mut connection =
        rustls::ClientConnection::new(Arc::new(device_tls()?), host.clone().try_into()?)?;
    let mut socket = std::net::TcpStream::connect((host.as_str(), port.parse()?))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    println!("connected, {:?}", connection.protocol_version());
    Ok(())
}
