//! Numbers and times as people say them.

use crate::time::Wall;

/// Time left: `in 59 min`; `for good` without an end.
pub(super) fn left(seconds: Option<u64>) -> String {
    match seconds {
        None => "for good".into(),
        Some(0) => "now".into(),
        Some(seconds) => format!("in {}", span(seconds)),
    }
}

/// A length of time in at most two units: `45 s`, `59 min`, `3 h 10 min`, `29 d 4 h`.
pub(super) fn span(seconds: u64) -> String {
    let (large, small) = match seconds {
        0..60 => return format!("{seconds} s"),
        60..3600 => return format!("{} min", seconds / 60),
        3600..86_400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    match small.0 {
        0 => format!("{} {}", large.0, large.1),
        _ => format!("{} {} {} {}", large.0, large.1, small.0, small.1),
    }
}

/// How long ago an RFC 3339 time was; the text itself if it is none.
pub(super) fn ago(time: &str, now: Wall) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else {
        return time.to_owned();
    };
    match now.seconds() - then.as_second() {
        ..=0 => "just now".into(),
        seconds => format!("{} ago", span(seconds as u64)),
    }
}

/// A count with its thousands apart: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 ban`, `2 bans`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A size: `640 B`, `7.2 KiB`, `1.4 GiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut size = number as f64 / 1024.0;
    let mut unit = 0;
    // Rounding to one decimal must not show 1024.0 of a unit.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (5400, "1 h 30 min"),
            (86_400, "1 d"),
            (2_577_600, "29 d 20 h"),
        ] {
            assert_eq!(span(seconds), shown);
        }
        assert_eq!(left(None), "for good");
        assert_eq!(left(Some(3599)), "in 59 min");
        let now = Wall(1_800_000_000_000);
        assert_eq!(ago(&Wall(now.0 - 120_000).to_string(), now), "2 min ago");
        assert_eq!(ago(&Wall(now.0 + 5000).to_string(), now), "just now");
        assert_eq!(ago("yesterday", now), "yesterday");
    }

    #[test]
    fn numbers() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "ban"), "1 ban");
        assert_eq!(counted(0, "ban"), "0 bans");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(1_048_575), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
    }
}
