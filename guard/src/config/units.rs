//! Times and sizes as people write them: `"1h 30m"`, `"64KiB"`. The unit stands in the value.

use std::time::Duration;

/// Units of time, the largest first, in seconds.
const TIMES: [(&str, u64); 5] = [("w", 7 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Units of size, the largest first, in bytes.
const SIZES: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("B", 1),
];

/// A duration: one or more numbers with `w`, `d`, `h`, `m`, `s` or `ms`, as in `"10m"` or `"1h 30m"`.
/// The error says in words what is wrong.
pub fn duration(text: &str) -> Result<Duration, String> {
    let example = "write it with units, like \"90s\", \"10m\", \"1h 30m\" or \"30d\"";
    let mut total = Duration::ZERO;
    for (number, unit) in parts(text).ok_or_else(|| format!("`{text}` is not a duration: {example}"))? {
        let part = match (unit, TIMES.iter().find(|(name, _)| *name == unit)) {
            ("", _) => return Err(format!("`{text}` has a number without a unit: {example}")),
            ("ms", _) => Some(Duration::from_millis(number)),
            (_, Some((_, seconds))) => number.checked_mul(*seconds).map(Duration::from_secs),
            _ => return Err(format!("`{unit}` is not a unit of time: {example}")),
        };
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("`{text}` is too long a duration"))?;
    }
    Ok(total)
}

/// A size: a number with `B`, `KiB`, `MiB`, `GiB`, `TiB` (or `KB`, `MB`, `GB`). The error says what is wrong.
pub fn size(text: &str) -> Result<u64, String> {
    let example = "write it with a unit, like \"512B\", \"64KiB\" or \"10MiB\"";
    let parts = parts(text).ok_or_else(|| format!("`{text}` is not a size: {example}"))?;
    let [(number, unit)] = parts[..] else {
        return Err(format!("`{text}` is not one size: {example}"));
    };
    if unit.is_empty() {
        return Err(format!("`{text}` has no unit: {example}"));
    }
    let (_, bytes) = SIZES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .ok_or_else(|| format!("`{unit}` is not a unit of size: {example}"))?;
    number.checked_mul(*bytes).ok_or_else(|| format!("`{text}` is too large a size"))
}

/// A duration as [`duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let millis = duration.subsec_millis();
    let mut out = Vec::new();
    // Weeks are read but not written: nobody thinks of 30 days as "4w 2d".
    for (unit, seconds) in &TIMES[1..] {
        if rest >= *seconds {
            out.push(format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    if millis > 0 {
        out.push(format!("{millis}ms"));
    }
    if out.is_empty() { "0s".into() } else { out.join(" ") }
}

/// A size as [`size`] reads it, in the largest binary unit that divides it.
pub fn show_size(bytes: u64) -> String {
    match SIZES[..4].iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// Numbers with the letters that follow them; `None` if the text is anything else.
fn parts(text: &str) -> Option<Vec<(u64, &str)>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        parts.push((number.parse().ok()?, unit));
        rest = tail.trim_start();
    }
    (!parts.is_empty()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_written() {
        for (text, seconds, shown) in [
            ("10m", 600, "10m"),
            ("1h 30m", 5400, "1h 30m"),
            ("1h30m", 5400, "1h 30m"),
            ("90s", 90, "1m 30s"),
            ("30d", 2_592_000, "30d"),
            ("1w", 604_800, "7d"),
            ("0s", 0, "0s"),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(show_duration(Duration::from_secs(seconds)), shown);
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_duration() {
        for (text, says) in [
            ("", "not a duration"),
            ("10", "without a unit"),
            ("1h 30", "without a unit"),
            ("-5m", "not a duration"),
            ("1.5h", "not a duration"),
            ("10 minutes", "`minutes` is not a unit"),
            ("99999999999999999999s", "not a duration"),
            ("9999999999999999999w", "too long"),
        ] {
            let error = duration(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_read_and_written() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("10 MB"), Ok(10_000_000));
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(show_size(65_536), "64KiB");
        assert_eq!(show_size(1000), "1000B");
        assert_eq!(show_size(0), "0B");
        for text in ["64", "", "KiB", "1KiB 2B", "5 parsecs", "99999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
