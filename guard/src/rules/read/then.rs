//! Actions. Each is a key of the table `then`; what has more than one thing to say is a table itself.

use super::{points, rate_limit, span, unknown};
use crate::config::Url;
use crate::config::shape::{
    Absolute, BanLength, Flag, Input, Name, Shape, Span, Wrong, gather, mistyped, text, wrong,
};
use crate::rules::action::{Action, Command, Does, Scoring, Term, Webhook};
use crate::rules::condition::{Condition, bit};
use crate::rules::limits::{MAX_ARGUMENTS, MAX_TAGS, MAX_TEXT, RateLimit};
use crate::sighting::Kind;
use toml::de::DeTable;

/// The actions, in the order they are done.
const KEYS: [&str; 7] = ["ignore", "score", "ban", "tag", "notify", "webhook", "run"];
/// Bytes of a text in a notice or event.
const MAX_NOTICE: usize = 200;

/// Reads the actions of a rule, in the order of [`KEYS`].
pub(super) fn read(input: Input<'_, '_>) -> Result<Box<[Action]>, Vec<Wrong>> {
    let Some(table) = input.get_ref().as_table() else {
        return Err(mistyped(input, "a table of actions, like { ban = \"1d\", tag = \"decoy\" }"));
    };
    let mut faults: Vec<Wrong> = table
        .iter()
        .filter(|(key, _)| !KEYS.contains(&key.get_ref().as_ref()))
        .map(|(key, _)| (key.span().start, unknown(key.get_ref(), KEYS)))
        .collect();
    let mut actions = Vec::new();
    for key in KEYS {
        let Some(value) = super::value(table, key) else { continue };
        match action(key, value) {
            Ok(action) => actions.push(action),
            Err(more) => faults.extend(super::told(&format!("`{key}`"), more)),
        }
    }
    if faults.is_empty() && actions.is_empty() {
        faults = wrong(input, "there is nothing in it: what is the rule to do?".into());
    }
    if actions.iter().any(|action| action.does == Does::Ignore)
        && let Some(other) = actions.iter().find(|action| action.does.is_against())
    {
        let reason = format!("`ignore` and `{}` contradict each other", other.does.name());
        faults.extend(wrong(input, reason));
    }
    if faults.is_empty() { Ok(actions.into()) } else { Err(faults) }
}

/// Refuses a rule that is for nothing but what can be forged, and against its address.
pub(super) fn refuse_forged(actions: &[Action], condition: &Condition) -> Result<(), String> {
    match actions.iter().find(|action| action.does.is_against()) {
        Some(action) if condition.kinds() == bit(Kind::Spoofable) => Err(format!(
            "`{}` for what is `{}`: its sender can be forged, so it never counts against an address",
            action.does.name(),
            Kind::Spoofable.name(),
        )),
        _ => Ok(()),
    }
}

fn action(key: &str, value: Input<'_, '_>) -> Result<Action, Vec<Wrong>> {
    match key {
        "ignore" if Flag.read(value)? => Ok(Does::Ignore.into()),
        "ignore" => Err(wrong(value, "it says nothing: leave `ignore` out".into())),
        "score" => score(value),
        "ban" => ban(value),
        "tag" => tags(value),
        "notify" => notify(value),
        "webhook" => webhook(value),
        // The caller goes through the keys.
        _ => run(value),
    }
}

impl From<Does> for Action {
    fn from(does: Does) -> Self {
        Self { limit: does.usual_limit(), does }
    }
}

/// The fields of an action that is a table.
struct Fields<'a> {
    limit: Option<RateLimit>,
    faults: Vec<Wrong>,
    known: &'a [&'a str],
}

impl<'a> Fields<'a> {
    /// Reads `rate_limit`, and gives the other keys to `each`, which answers whether it knows one.
    fn read(
        table: &DeTable<'_>,
        known: &'a [&'a str],
        mut each: impl FnMut(&str, Input<'_, '_>) -> Result<(), Vec<Wrong>>,
    ) -> Self {
        let mut fields = Self { limit: None, faults: Vec::new(), known };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let read = match name {
                "rate_limit" => rate_limit(value).map(|read| fields.limit = Some(read)),
                _ if fields.known.contains(&name) => each(name, value),
                _ => {
                    let known = fields.known.iter().copied().chain(["rate_limit"]);
                    Err(vec![(key.span().start, unknown(name, known))])
                }
            };
            fields.faults.extend(read.err().into_iter().flatten());
        }
        fields
    }

    /// The action, if nothing is wrong.
    fn action(self, does: Option<Does>, missing: impl FnOnce() -> Vec<Wrong>) -> Result<Action, Vec<Wrong>> {
        match does {
            _ if !self.faults.is_empty() => Err(self.faults),
            Some(does) => Ok(Action { limit: self.limit.or(does.usual_limit()), does }),
            None => Err(missing()),
        }
    }
}

/// `{ add = 2 }` or `{ set = 0.5 }`.
fn score(value: Input<'_, '_>) -> Result<Action, Vec<Wrong>> {
    const EXAMPLE: &str = "{ add = 2 } or { set = 0.5 }";
    let Some(table) = value.get_ref().as_table() else { return Err(mistyped(value, EXAMPLE)) };
    let (mut add, mut set) = (None, None);
    let fields = Fields::read(table, &["add", "set"], |name, value| {
        match name {
            "add" => add = Some(Scoring::Add(points(value, -1000.0)?)),
            _ => set = Some(Scoring::Set(points(value, 0.0)?)),
        }
        Ok(())
    });
    let scoring = if add.is_some() && set.is_some() { None } else { add.or(set) };
    fields.action(scoring.map(Does::Score), || wrong(value, format!("write either {EXAMPLE}")))
}

/// `true`, `"1d"`, `"permanent"` or `{ for = "1d" }`.
fn ban(value: Input<'_, '_>) -> Result<Action, Vec<Wrong>> {
    if value.get_ref().as_bool() == Some(true) {
        return Ok(Does::Ban(Term::Ladder).into());
    }
    let Some(table) = value.get_ref().as_table() else {
        return Ok(Does::Ban(BanLength.read(value)?.into()).into());
    };
    let mut term = Term::Ladder;
    let fields = Fields::read(table, &["for", "force"], |name, value| {
        if name == "force" {
            let reason = "no rule goes past what is allowed or protected, because an attacker chooses which lines it \
                          sees; `guardctl ban --force` is for people";
            return Err(wrong(value, format!("`force`: {reason}")));
        }
        term = BanLength.read(value)?.into();
        Ok(())
    });
    fields.action(Some(Does::Ban(term)), Vec::new)
}

/// A word, or a list of them.
fn tags(value: Input<'_, '_>) -> Result<Action, Vec<Wrong>> {
    let items = match value.get_ref().as_array() {
        Some(items) => &items[..],
        None => std::slice::from_ref(value),
    };
    if items.is_empty() || items.len() > MAX_TAGS {
        return Err(wrong(value, format!("a rule has 1 to {MAX_TAGS} tags")));
    }
    let tags = gather(items.iter().map(|item| Name(32).read(item)))?;
    Ok(Does::Tag(tags.into_iter().map(String::into_boxed_str).collect()).into())
}

/// `true`, a text, or `{ text = "…" }`.
fn notify(value: Input<'_, '_>) -> Result<Action, Vec<Wrong>> {
    let notice = |value: Input<'_, '_>| {
        let text = text(value, "true or a text")?;
        if text.is_empty() || text.len() > MAX_NOTICE || text.chars().any(char::is_control) {
            return Err(wrong(value, format!("a text of 1 to {MAX_NOTICE} bytes in one line")));
        }
        Ok(text.into())
    };
    if value.get_ref().as_bool() == Some(true) {
        return Ok(Does::Notify("".into()).into());
    }
    let Some(table) = value.get_ref().as_table() else { return Ok(Does::Notify(notice(value)?).into()) };
    let mut text = "".into();
    let fields = Fields::read(table, &["text"], |_, value| {
        text = notice(value)?;
        Ok(())
    });
    fields.action(Some(Does::Notify(text)), Vec::new)
}

/// A URL, or `{ url = "…" }` with what else it needs.
fn webhook(value: Input<'_, '_>) -> Result<Action, Vec<Wrong>> {
    if cfg!(not(feature = "feeds")) {
        return Err(wrong(
            value,
            "this guard was built without the feature `feeds`: it calls no webhook".into(),
        ));
    }
    let (mut url, mut secret, mut ca, mut private, mut timeout) = (None, None, None, false, Webhook::TIMEOUT);
    let Some(table) = value.get_ref().as_table() else {
        let url = Url.read(value)?.into();
        return checked(Webhook { url, secret, ca, private, timeout }, value).map(Action::from);
    };
    let fields = Fields::read(table, &["url", "secret", "ca", "private", "timeout"], |name, value| {
        match name {
            "url" => url = Some(Url.read(value)?.into_boxed_str()),
            "secret" => secret = Some(Absolute.read(value)?),
            "ca" => ca = Some(Absolute.read(value)?),
            "private" => private = Flag.read(value)?,
            _ => timeout = Span(1..=60).read(value)?,
        }
        Ok(())
    });
    let does = match url {
        Some(url) => Some(checked(Webhook { url, secret, ca, private, timeout }, value)?),
        None => None,
    };
    let example = || "`url` is missing: { url = \"https://hooks.example.org/guard\" }".into();
    fields.action(does, || wrong(value, example()))
}

/// Refuses to send anything through the net for all to read, and authorities that nobody asks.
fn checked(webhook: Webhook, place: Input<'_, '_>) -> Result<Does, Vec<Wrong>> {
    let is_plain = !webhook.url.starts_with("https://");
    if is_plain && webhook.ca.is_some() {
        return Err(wrong(
            place,
            "it has a `ca`, but no https:// URL whose server it could vouch for".into(),
        ));
    }
    if !is_plain || webhook.private {
        return Ok(Does::Webhook(webhook));
    }
    let way_out =
        "write https://, or { url = \"…\", private = true } for a server in this machine's own network";
    Err(wrong(place, format!("it would go unencrypted: {way_out}")))
}

/// `["/path/to/program", "argument"]` or `{ command = […], timeout = "10s" }`.
fn run(value: Input<'_, '_>) -> Result<Action, Vec<Wrong>> {
    let Some(table) = value.get_ref().as_table() else {
        return Ok(Does::Run(command(value, Command::TIMEOUT)?).into());
    };
    let (mut parts, mut timeout) = (None, Command::TIMEOUT);
    let fields = Fields::read(table, &["command", "timeout"], |name, value| {
        match name {
            "command" => parts = Some(command(value, Command::TIMEOUT)?),
            _ => timeout = Span(1..=300).read(value)?,
        }
        Ok(())
    });
    let does = parts.map(|command| Does::Run(Command { timeout, ..command }));
    let example = format!(
        "`command` is missing: {{ command = [\"/usr/local/bin/told\"], timeout = \"{}\" }}",
        span(Command::TIMEOUT)
    );
    fields.action(does, || wrong(value, example))
}

fn command(value: Input<'_, '_>, timeout: std::time::Duration) -> Result<Command, Vec<Wrong>> {
    const EXAMPLE: &str =
        "a list: the program's absolute path and its arguments, like [\"/usr/bin/logger\", \"-t\", \"rule\"]";
    let Some(items) = value.get_ref().as_array().filter(|items| !items.is_empty()) else {
        return Err(mistyped(value, EXAMPLE));
    };
    if items.len() > MAX_ARGUMENTS {
        return Err(wrong(value, format!("more than {MAX_ARGUMENTS} arguments")));
    }
    let program = Absolute.read(&items[0])?;
    let argument = |item: Input<'_, '_>| {
        let argument = text(item, "a text")?;
        if argument.len() > MAX_TEXT || argument.contains('\0') {
            return Err(wrong(item, format!("an argument has at most {MAX_TEXT} bytes, and no NUL")));
        }
        Ok(argument.to_owned())
    };
    let arguments = gather(items[1..].iter().map(argument))?;
    Ok(Command { program, arguments: arguments.into(), timeout })
}
