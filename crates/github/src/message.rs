//! A scale set's message: its outer form, and its entries one by one, so that one bad entry neither hides the others nor
//! keeps the message in the queue for ever (F19; protocol.md, 3.4).

use std::fmt;

use dayfly_core::{
    model::{Message, MessageId, Statistics},
    ports::ForgeError,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    entry,
    operation::Operation,
    refusal::{Surface, unreadable, without_bom},
    scale_sets::StatisticsWire,
    scrub::scrub,
};

/// The one type of message that carries jobs.
const JOB_MESSAGE: &str = "RunnerScaleSetJobMessages";

/// GitHub sends at most 50 entries in a message; what is beyond this is none of GitHub's.
const ENTRIES_MAX: usize = 1_000;

/// How many complaints of one message are told, and how long each may be.
const COMPLAINTS_MAX: usize = 20;
const COMPLAINT_MAX: usize = 300;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageWire {
    message_id: i64,
    #[serde(default)]
    message_type: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    statistics: Option<StatisticsWire>,
}

/// Reads a message.
pub(crate) fn parse(operation: &Operation<'_>, bytes: &[u8]) -> Result<Message, ForgeError> {
    let bytes = without_bom(bytes);
    if bytes.is_empty() {
        return Err(unreadable(operation, Surface::Queue, "it is empty"));
    }
    let wire: MessageWire = serde_json::from_slice(bytes).map_err(|cause| {
        let what = format!("no message (line {}, column {})", cause.line(), cause.column());
        unreadable(operation, Surface::Queue, &what)
    })?;
    if wire.message_id <= 0 {
        return Err(unreadable(operation, Surface::Queue, "its message has no id"));
    }
    let mut message = Message {
        id: MessageId(wire.message_id),
        statistics: wire.statistics.map(Statistics::from),
        entries: Vec::new(),
        unreadable: Vec::new(),
    };
    if wire.message_type != JOB_MESSAGE {
        complain(&mut message, &format!("a message of the unknown type `{}`", wire.message_type));
        return Ok(message);
    }
    let body = wire.body.unwrap_or_default();
    if !body.trim().is_empty() {
        read_entries(&mut message, &body);
    }
    Ok(message)
}

fn read_entries(message: &mut Message, body: &str) {
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let visitor = Entries { message };
    if let Err(cause) = deserializer.deserialize_seq(visitor) {
        complain(message, &format!("the rest of the message: {cause}"));
    }
}

/// Reads entries as they come, so that those before a syntax error are kept.
struct Entries<'a> {
    message: &'a mut Message,
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for number in 1..=ENTRIES_MAX {
            let Some(raw) = list.next_element::<&'de RawValue>()? else {
                return Ok(());
            };
            match entry::parse(raw.get()) {
                Ok(Some(entry)) => self.message.entries.push(entry),
                // A type that this version does not know.
                Ok(None) => {}
                Err(reason) => complain(self.message, &format!("entry {number}: {reason}")),
            }
        }
        let mut beyond = 0_usize;
        while list.next_element::<IgnoredAny>()?.is_some() {
            beyond += 1;
        }
        if beyond > 0 {
            complain(self.message, &format!("{beyond} entries beyond the first {ENTRIES_MAX}"));
        }
        Ok(())
    }
}

fn complain(message: &mut Message, complaint: &str) {
    let told = message.unreadable.len() + 1;
    if told < COMPLAINTS_MAX {
        message.unreadable.push(scrub(complaint, "", COMPLAINT_MAX));
    } else if told == COMPLAINTS_MAX {
        message.unreadable.push("and more".to_owned());
    }
}

#[cfg(test)]
mod tests;
