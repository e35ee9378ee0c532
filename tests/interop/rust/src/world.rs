//! Where the server is, how it is set up, and whose tokens there are.

use std::env;

use eventdbx_client::{ClientConfig, Error, EventDbxClient};

/// How the server was configured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As `dbx init` leaves it.
    Defaults,
    /// `verbose_responses = false`: writes are answered with an empty text.
    Brief,
    /// `no_noise = true`: sessions without encryption are allowed, and this client asks for one.
    Plain,
}

pub struct World {
    pub host: String,
    pub port: u16,
    pub mode: Mode,
    /// A token that may do everything.
    pub root: String,
    /// A token that may read orders and nothing else.
    pub reader: String,
}

impl World {
    /// Reads `INTEROP_PORT`, `INTEROP_MODE`, `INTEROP_ROOT` and `INTEROP_READER`.
    pub fn from_environment() -> Result<Self, String> {
        let get = |name: &str| env::var(name).map_err(|_| format!("{name} is not set"));
        let mode = match get("INTEROP_MODE")?.as_str() {
            "defaults" => Mode::Defaults,
            "brief" => Mode::Brief,
            "plain" => Mode::Plain,
            other => {
                return Err(format!("INTEROP_MODE '{other}' is none of defaults, brief, plain"));
            }
        };
        let port = get("INTEROP_PORT")?;
        Ok(Self {
            host: "127.0.0.1".into(),
            port: port.parse().map_err(|_| format!("INTEROP_PORT '{port}' is no port"))?,
            mode,
            root: get("INTEROP_ROOT")?,
            reader: get("INTEROP_READER")?,
        })
    }

    /// The configuration of a user who says no more than he must.
    pub fn settings(&self, token: &str) -> ClientConfig {
        ClientConfig::new(self.host.as_str(), token)
            .with_port(self.port)
            .with_noise(self.mode != Mode::Plain)
    }

    /// A client that may do everything.
    pub async fn client(&self) -> Result<EventDbxClient, Error> {
        EventDbxClient::connect(self.settings(&self.root)).await
    }
}
