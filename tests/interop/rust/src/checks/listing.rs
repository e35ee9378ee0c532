//! Lists of aggregates: pages, order, filters, what is archived.

use std::time::Duration;

use eventdbx_client::{
    AggregateSort, AggregateSortField, AppendEventRequest, EventDbxClient, ListAggregatesOptions,
    SetAggregateArchiveRequest,
};
use serde_json::json;

use crate::outcome::{Failed, Outcome, column, holds, same, written};
use crate::world::World;

/// Writes aggregates that a filter on `batch` finds, each in a millisecond of its own: times are
/// compared by milliseconds.
async fn fill(
    world: &World,
    client: &EventDbxClient,
    batch: &str,
    names: &[(&str, &str)],
) -> Outcome {
    for (number, (kind, id)) in names.iter().enumerate() {
        let payload = json!({"batch": batch, "number": number});
        let request = AppendEventRequest::new(*kind, *id, "created", payload);
        written(world.mode, client.append_event(request).await, |r| r.event)?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn of(batch: &str) -> ListAggregatesOptions {
    ListAggregatesOptions { filter: Some(format!("batch = \"{batch}\"")), ..Default::default() }
}

/// Follows the cursor to the end; returns the ids of each page.
async fn all_pages(
    client: &EventDbxClient,
    mut options: ListAggregatesOptions,
) -> Result<Vec<Vec<String>>, Failed> {
    let mut pages = Vec::new();
    loop {
        let page = client.list_aggregates(options.clone()).await?;
        pages.push(column(&page.aggregates, "aggregate_id"));
        options.cursor = page.next_cursor;
        if options.cursor.is_none() || pages.len() > 100 {
            return Ok(pages);
        }
    }
}

pub async fn in_pages(world: &World) -> Outcome {
    let client = world.client().await?;
    let ids: Vec<String> = (0..25).map(|number| format!("page-{number:02}")).collect();
    let names: Vec<_> = ids.iter().map(|id| ("order", id.as_str())).collect();
    fill(world, &client, "pages", &names).await?;
    let pages = all_pages(&client, ListAggregatesOptions { take: Some(10), ..of("pages") }).await?;
    same(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5])?;
    same(pages.concat(), ids)?;
    let everything = all_pages(&client, ListAggregatesOptions::default()).await?.concat();
    holds(everything.len() >= 25, || format!("a list without options has {}", everything.len()))
}

pub async fn sorted(world: &World) -> Outcome {
    use AggregateSortField::*;
    let client = world.client().await?;
    let names = [("order", "sort-2"), ("invoice", "sort-3"), ("order", "sort-1")];
    fill(world, &client, "sorted", &names).await?;
    let again = AppendEventRequest::new("order", "sort-2", "touched", json!({}));
    written(world.mode, client.append_event(again).await, |r| r.event)?;
    let archive = SetAggregateArchiveRequest::new("order", "sort-2", true);
    written(world.mode, client.set_aggregate_archive(archive).await, |r| r.aggregate)?;
    let by = |fields: &[(AggregateSortField, bool)]| ListAggregatesOptions {
        sort: fields
            .iter()
            .map(|&(field, descending)| AggregateSort { field, descending })
            .collect(),
        include_archived: true,
        ..of("sorted")
    };
    for (sort, wanted) in [
        (vec![(AggregateId, false)], ["sort-1", "sort-2", "sort-3"]),
        (vec![(AggregateId, true)], ["sort-3", "sort-2", "sort-1"]),
        (vec![(AggregateType, false), (AggregateId, true)], ["sort-3", "sort-2", "sort-1"]),
        (vec![(AggregateType, true), (AggregateId, false)], ["sort-1", "sort-2", "sort-3"]),
        (vec![(Archived, true), (AggregateId, false)], ["sort-2", "sort-1", "sort-3"]),
        (vec![(Archived, false), (AggregateId, true)], ["sort-3", "sort-1", "sort-2"]),
        (vec![(CreatedAt, false)], ["sort-2", "sort-3", "sort-1"]),
        (vec![(CreatedAt, true)], ["sort-1", "sort-3", "sort-2"]),
        (vec![(UpdatedAt, false)], ["sort-3", "sort-1", "sort-2"]),
        (vec![(UpdatedAt, true)], ["sort-2", "sort-1", "sort-3"]),
    ] {
        let page = client.list_aggregates(by(&sort)).await?;
        let found = column(&page.aggregates, "aggregate_id");
        holds(found == wanted, || format!("by {sort:?}: found {found:?}, wanted {wanted:?}"))?;
    }
    Ok(())
}

pub async fn sorted_by_text(world: &World) -> Outcome {
    let client = world.client().await?;
    let names = [("order", "text-1"), ("order", "text-2"), ("invoice", "text-3")];
    fill(world, &client, "text", &names).await?;
    for (text, wanted) in [
        ("aggregate_id:desc", ["text-3", "text-2", "text-1"]),
        (" aggregateType, aggregateId:DESC ", ["text-3", "text-2", "text-1"]),
        ("created_at", ["text-1", "text-2", "text-3"]),
    ] {
        let options = ListAggregatesOptions { sort_text: Some(text.into()), ..of("text") };
        let page = client.list_aggregates(options).await?;
        let found = column(&page.aggregates, "aggregate_id");
        holds(found == wanted, || format!("by '{text}': found {found:?}, wanted {wanted:?}"))?;
    }
    Ok(())
}

/// A list by time has a cursor as well, and shows each aggregate once.
pub async fn sorted_in_pages(world: &World) -> Outcome {
    let client = world.client().await?;
    let names = ["t-3", "t-1", "t-2", "t-5", "t-4"].map(|id| ("order", id));
    fill(world, &client, "times", &names).await?;
    let newest_first =
        vec![AggregateSort { field: AggregateSortField::CreatedAt, descending: true }];
    let options = ListAggregatesOptions { take: Some(2), sort: newest_first, ..of("times") };
    let pages = all_pages(&client, options).await?;
    same(pages.concat(), ["t-4", "t-5", "t-2", "t-1", "t-3"])?;
    same(pages.len(), 3)
}

pub async fn filtered(world: &World) -> Outcome {
    let client = world.client().await?;
    let names = ["f-1", "f-2", "f-3", "f-4"].map(|id| ("order", id));
    fill(world, &client, "filters", &names).await?;
    for (filter, wanted) in [
        ("number >= 2", vec!["f-3", "f-4"]),
        ("number = 0 OR number = 3", vec!["f-1", "f-4"]),
        ("NOT (number < 3)", vec!["f-4"]),
        ("aggregate_id LIKE \"f-%\" AND number IN [1, 2]", vec!["f-2", "f-3"]),
        ("version > 1", vec![]),
    ] {
        let filter = format!("batch = \"filters\" AND ({filter})");
        let options = ListAggregatesOptions { filter: Some(filter.clone()), ..Default::default() };
        let page = client.list_aggregates(options).await?;
        let found = column(&page.aggregates, "aggregate_id");
        holds(found == wanted, || format!("{filter}: found {found:?}, wanted {wanted:?}"))?;
    }
    Ok(())
}

pub async fn archived(world: &World) -> Outcome {
    let client = world.client().await?;
    fill(world, &client, "stacked", &[("order", "here"), ("order", "gone")]).await?;
    let archive = SetAggregateArchiveRequest::new("order", "gone", true);
    written(world.mode, client.set_aggregate_archive(archive).await, |r| r.aggregate)?;
    for (include_archived, archived_only, wanted) in [
        (false, false, vec!["here"]),
        (true, false, vec!["here", "gone"]),
        (false, true, vec!["gone"]),
        (true, true, vec!["gone"]),
    ] {
        let options = ListAggregatesOptions {
            include_archived,
            archived_only,
            token: Some(world.reader.clone()),
            ..of("stacked")
        };
        let page = client.list_aggregates(options).await?;
        same(column(&page.aggregates, "aggregate_id"), wanted)?;
    }
    Ok(())
}
