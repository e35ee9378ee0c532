//! Opening a session: what is agreed on, and who is turned down.

use std::time::Duration;

use eventdbx_client::{Error, EventDbxClient};

use crate::outcome::{Outcome, holds, refused, rejected, same};
use crate::world::{Mode, World};

pub async fn config_is_kept(world: &World) -> Outcome {
    let wanted = world
        .settings(&world.root)
        .with_tenant("default")
        .with_connect_timeout(Duration::ZERO)
        .with_request_timeout(None);
    let client = EventDbxClient::connect(wanted).await?;
    let config = client.config();
    same(config.address(), format!("127.0.0.1:{}", world.port))?;
    same((config.tenant_id.as_str(), config.protocol_version), ("default", 1))?;
    same(client.get_aggregate("order", "nobody").await?.found, false)
}

pub async fn wrong_token(world: &World) -> Outcome {
    let forged = format!("{}AAAA", &world.root[..world.root.len() - 4]);
    rejected(EventDbxClient::connect(world.settings(&forged)).await, "invalid control token")?;
    rejected(EventDbxClient::connect(world.settings("secret")).await, "invalid control token")
}

pub async fn no_token(world: &World) -> Outcome {
    rejected(EventDbxClient::connect(world.settings("  ")).await, "missing control token")
}

pub async fn wrong_protocol_version(world: &World) -> Outcome {
    let config = world.settings(&world.root).with_protocol_version(2);
    rejected(EventDbxClient::connect(config).await, "unsupported control protocol version 2")
}

pub async fn foreign_tenant(world: &World) -> Outcome {
    let config = world.settings(&world.reader).with_tenant("acme");
    match EventDbxClient::connect(config).await {
        Err(Error::Authentication(message)) => {
            holds(message.contains("'acme'"), || format!("found '{message}'"))
        }
        Err(other) => Err(other.into()),
        Ok(_) => holds(false, || "a token of another tenant was accepted".into()),
    }
}

/// Plaintext is spoken where both sides want it, and refused in so many words where one does not.
pub async fn plaintext_is_agreed(world: &World) -> Outcome {
    let config = world.settings(&world.root);
    if world.mode == Mode::Plain {
        let encrypted = EventDbxClient::connect(config.with_noise(true)).await?;
        return same(encrypted.get_aggregate("order", "nobody").await?.found, false);
    }
    let plain = EventDbxClient::connect(config.with_noise(false)).await?;
    refused(
        plain.get_aggregate("order", "nobody").await,
        "config",
        "configuration error: plaintext control channel is disabled",
    )?;
    holds(plain.get_aggregate("order", "nobody").await.is_err(), || {
        "the session goes on without encryption".into()
    })
}

pub async fn nobody_listens(world: &World) -> Outcome {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr());
    let port = free.map_err(Error::Io)?.port();
    match EventDbxClient::connect(world.settings(&world.root).with_port(port)).await {
        Err(Error::Io(_)) => Ok(()),
        Err(other) => Err(other.into()),
        Ok(_) => holds(false, || "connected to nobody".into()),
    }
}
