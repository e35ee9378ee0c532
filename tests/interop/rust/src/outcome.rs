//! What a check comes to, and the comparisons that checks are made of.

use std::fmt::Debug;

use eventdbx_client::Error;
use serde_json::Value;

use crate::world::Mode;

/// Why a check failed.
pub struct Failed(pub String);

pub type Outcome = Result<(), Failed>;

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(format!("the client reports: {error}"))
    }
}

/// Both are the same, or the check has failed and says which value was wrong.
#[track_caller]
pub fn same<T: PartialEq<U> + Debug, U: Debug>(found: T, wanted: U) -> Outcome {
    holds(found == wanted, || format!("found {found:?}, wanted {wanted:?}"))
}

/// A part of an answer has this value.
#[track_caller]
pub fn is(found: &Value, wanted: impl Into<Value>) -> Outcome {
    same(found, &wanted.into())
}

/// The condition is true, or the check has failed.
#[track_caller]
pub fn holds(condition: bool, why: impl FnOnce() -> String) -> Outcome {
    if condition {
        return Ok(());
    }
    let place = std::panic::Location::caller();
    let mut text = why();
    if text.len() > 600 {
        text =
            format!("{} … {} characters", text.chars().take(600).collect::<String>(), text.len());
    }
    Err(Failed(format!("line {} of {}: {text}", place.line(), place.file())))
}

/// The server refused with this code and message.
#[track_caller]
pub fn refused<T>(result: Result<T, Error>, code: &str, message: &str) -> Outcome {
    match result {
        Err(Error::Server(error)) => {
            same((error.code.as_str(), error.message.as_str()), (code, message))
        }
        Err(other) => {
            holds(false, || format!("wanted {code}: {message}, the client reports: {other}"))
        }
        Ok(_) => holds(false, || format!("wanted {code}: {message}, but the call succeeded")),
    }
}

/// The server turned the hello down with this message.
#[track_caller]
pub fn rejected<T>(result: Result<T, Error>, message: &str) -> Outcome {
    match result {
        Err(Error::Authentication(text)) => same(text.as_str(), message),
        Err(other) => holds(false, || format!("wanted '{message}', the client reports: {other}")),
        Ok(_) => holds(false, || format!("wanted '{message}', but the hello was accepted")),
    }
}

/// What a write answered: its document, or nothing where the server is told to be brief.
///
/// This client takes every answer to a write for JSON. On the empty text of a brief server it
/// reports the end of its input, although the write is done; that very error is what is asked for.
#[track_caller]
pub fn written<T>(
    mode: Mode,
    result: Result<T, Error>,
    document: impl FnOnce(T) -> Value,
) -> Result<Option<Value>, Failed> {
    match (mode, result) {
        (Mode::Brief, Err(Error::Json(error))) if error.is_eof() => Ok(None),
        (Mode::Brief, Ok(_)) => {
            holds(false, || "a brief server answered a write with a document".into()).map(|_| None)
        }
        (_, result) => Ok(Some(document(result?))),
    }
}

/// The field of each item of a list, as text.
pub fn column(items: &Value, field: &str) -> Vec<String> {
    let cell = |item: &Value| item[field].as_str().map_or(item[field].to_string(), str::to_string);
    items.as_array().map(|items| items.iter().map(cell).collect()).unwrap_or_default()
}
