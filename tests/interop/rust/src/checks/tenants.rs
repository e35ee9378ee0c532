//! Shards and quotas of tenants, which this server does not offer yet: it says so, every time, and
//! the session goes on.

use eventdbx_client::{
    TenantAssignRequest, TenantQuotaClearRequest, TenantQuotaRecalcRequest, TenantQuotaSetRequest,
    TenantUnassignRequest,
};

use crate::outcome::{Outcome, refused, same};
use crate::world::World;

fn not_offered<T>(result: eventdbx_client::Result<T>) -> Outcome {
    refused(
        result,
        "config",
        "configuration error: tenant operations are not offered by this version of the server",
    )
}

pub async fn shards(world: &World) -> Outcome {
    let client = world.client().await?;
    not_offered(client.tenant_assign(TenantAssignRequest::new("default", "shard-0001")).await)?;
    not_offered(client.tenant_unassign(TenantUnassignRequest::new("default")).await)?;
    same(client.get_aggregate("order", "nobody").await?.found, false)
}

pub async fn quotas(world: &World) -> Outcome {
    let client = world.client().await?;
    not_offered(client.tenant_quota_set(TenantQuotaSetRequest::new("default", 5)).await)?;
    not_offered(client.tenant_quota_clear(TenantQuotaClearRequest::new("default")).await)?;
    not_offered(client.tenant_quota_recalc(TenantQuotaRecalcRequest::new("default")).await)?;
    same(client.get_aggregate("order", "nobody").await?.found, false)
}
