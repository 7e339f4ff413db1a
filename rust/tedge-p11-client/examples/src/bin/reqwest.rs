//! HTTPS with reqwest, for which the same holds as for tokio (see there): any request may open a connection, so each is
//! sent from a thread that may wait. `reqwest::blocking` has such a thread of its own.

use std::error::Error;
use std::process::ExitCode;

use reqwest::{Client, Response};
use tedge_p11_client_examples::Settings;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

fn main() -> ExitCode {
    tedge_p11_client_examples::exit_code(run())
}

#[tokio::main]
async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_args()?;
    let url = format!("https://{}:{}/", settings.host, settings.port);
    let tls = spawn_blocking(move || settings.tls().map_err(|error| error.to_string()));
    let client = Client::builder()
        .tls_backend_preconfigured(tls.await??)
        .build()?;
    let response = get(client, url).await?;
    println!("{:?} {}", response.version(), response.status());
    Ok(())
}

async fn get(client: Client, url: String) -> Result<Response, Box<dyn Error>> {
    let runtime = Handle::current();
    let request = move || runtime.block_on(client.get(url).send());
    Ok(spawn_blocking(request).await??)
}
