//! Every notation against jiff's own reading of it, and texts that are none.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
const REFERENCE: &str = "2026-11-20T12:30:00Z";

fn wall(text: &str) -> Wall {
    Wall(text.parse::<Timestamp>().unwrap().as_millisecond())
}

fn berlin() -> TimeZone {
    TimeZone::posix(BERLIN).unwrap()
}

/// What `text` begins with, read in Berlin, and what is left.
fn read<'a>(text: &'a str, reference: &str) -> Option<(Option<Wall>, &'a str)> {
    let (stamp, rest) = stamp(text.as_bytes())?;
    Some((Stamps::new(berlin()).read(stamp, wall(reference)), &text[rest..]))
}

fn bsd(zone: &str, text: &str, reference: &str) -> Option<String> {
    let mut stamps = Stamps::new(TimeZone::posix(zone).unwrap());
    stamps.bsd(text.as_bytes().try_into().unwrap(), wall(reference)).map(|wall| wall.to_string())
}

#[test]
fn every_notation_bare_and_in_brackets() {
    for (text, expected) in [
        ("2026-11-20T12:00:00.123456+01:00", "2026-11-20T11:00:00.123Z"),
        ("2026-11-20T12:00:00,123+0100", "2026-11-20T11:00:00.123Z"),
        ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z"),
        ("2026-11-20 12:00:00", "2026-11-20T11:00:00Z"),
        ("2026-11-20 12:00:00,123", "2026-11-20T11:00:00.123Z"),
        ("2026-11-20 12:00:00.5 UTC", "2026-11-20T12:00:00.5Z"),
        ("2026-11-20 12:00:00 GMT", "2026-11-20T12:00:00Z"),
        ("2026-11-20 12:00:00.123 Z", "2026-11-20T12:00:00.123Z"),
        ("2026-11-20 12:00:00 CET", "2026-11-20T11:00:00Z"),
        ("2026-07-20 12:00:00.001 CEST", "2026-07-20T10:00:00.001Z"),
        ("2026-11-20 12:00:00 +0300", "2026-11-20T09:00:00Z"),
        ("2026-11-20 12:00:00.123 +03", "2026-11-20T09:00:00.123Z"),
        ("2026-11-20 12:00:00-05:30", "2026-11-20T17:30:00Z"),
        ("2026-11-20  1:02:03", "2026-11-20T00:02:03Z"),
        ("2026-11-20  1:02:03.5", "2026-11-20T00:02:03.5Z"),
        ("2026/11/20 12:00:00", "2026-11-20T11:00:00Z"),
        ("2026/11/20 12:00:00.123456", "2026-11-20T11:00:00.123Z"),
        ("20/Nov/2026:12:00:00 +0000", "2026-11-20T12:00:00Z"),
        ("20/Nov/2026:12:00:00 -0730", "2026-11-20T19:30:00Z"),
        ("20/Nov/2026:12:00:00.123", "2026-11-20T11:00:00.123Z"),
        ("Fri 2026-11-20 12:00:00 UTC", "2026-11-20T12:00:00Z"),
        ("Fri 2026-11-20 12:00:00.123456 CET", "2026-11-20T11:00:00.123Z"),
        ("Fri Nov 20 12:00:00 2026", "2026-11-20T11:00:00Z"),
        ("Fri Nov 20 12:00:00.123456 2026", "2026-11-20T11:00:00.123Z"),
        ("Sun Nov  1 12:00:00 2026", "2026-11-01T11:00:00Z"),
        ("Fri Nov 20 12:00:00 UTC 2026", "2026-11-20T12:00:00Z"),
        ("20-Nov-2026 12:00:00.123", "2026-11-20T11:00:00.123Z"),
        ("Nov 20 2026 12:00:00", "2026-11-20T11:00:00Z"),
        ("Nov  2 2026 12:00:00.5", "2026-11-02T11:00:00.5Z"),
        ("20-Nov-2026 12:00:00 UTC", "2026-11-20T12:00:00Z"),
        ("261120 12:00:00", "2026-11-20T11:00:00Z"),
        ("261120  1:02:03", "2026-11-20T00:02:03Z"),
        ("Nov 20 12:00:00", "2026-11-20T11:00:00Z"),
        ("Nov  1 12:00:00", "2026-11-01T11:00:00Z"),
        ("Nov  1 12:00:00.123456", "2026-11-01T11:00:00.123Z"),
        ("1795176000", "2026-11-20T12:00:00Z"),
        ("1795176000.52", "2026-11-20T12:00:00.52Z"),
        ("1795176000520", "2026-11-20T12:00:00.52Z"),
    ] {
        let expected = Some(wall(expected));
        assert_eq!(read(text, REFERENCE), Some((expected, "")), "{text}");
        assert_eq!(read(&format!("{text} text"), REFERENCE), Some((expected, "text")), "{text}");
        assert_eq!(read(&format!("{text}\t text"), REFERENCE), Some((expected, "text")), "{text}");
        assert_eq!(read(&format!("{text}: text"), REFERENCE), Some((expected, ": text")), "{text}");
        assert_eq!(read(&format!("[{text}]  text"), REFERENCE), Some((expected, "text")), "{text}");
        assert_eq!(read(&format!("[{text}][text"), REFERENCE), Some((expected, "[text")), "{text}");
        assert_eq!(read(&format!("[{text},  2] text"), REFERENCE), Some((expected, ",  2] text")), "{text}");
        assert_eq!(read(&format!("{text}x"), REFERENCE).filter(|(_, rest)| *rest == "x"), None, "{text}");
    }
}

#[test]
fn the_time_since_boot_is_recognised_and_says_nothing() {
    for text in
        ["[    0.000000] text", "[  123.456789] text", "[12345.678901]text", "[123456789.000000]   text"]
    {
        assert_eq!(read(text, REFERENCE), Some((None, "text")), "{text}");
    }
    for text in [
        "  123.456789 text",
        "123.456789 text",
        "[  123.45678] text",
        "[  123.456789 text",
        "[  .456789] text",
    ] {
        assert_eq!(read(text, REFERENCE), None, "{text}");
    }
}

#[test]
fn what_follows_a_stamp_is_not_taken_for_its_zone() {
    for (text, rest) in [
        ("2026-11-20 12:00:00 INFO text", "INFO text"),
        ("2026-11-20 12:00:00,123 ERROR text", "ERROR text"),
        ("2026-11-20 12:00:00 NOTE text", "NOTE text"),
        ("2026-11-20 12:00:00 -", "-"),
        ("2026-11-20 12:00:00 - text", "- text"),
        ("2026-11-20 12:00:00 ESTABLISHED", "ESTABLISHED"),
        ("2026-11-20 12:00:00 EST5 text", "EST5 text"),
        ("2026-11-20 12:00:00 +49 30 text", "+49 30 text"),
        ("2026-11-20 12:00:00 +1 text", "+1 text"),
        ("2026-11-20T12:00:00 UTC text", "UTC text"),
        ("2026/11/20 12:00:00 UTC text", "UTC text"),
        ("2026-11-20 12:00:00 Europe/Berlin] text", "Europe/Berlin] text"),
        ("[2026-11-20 12:00:00, text", ", text"),
        ("2026-11-20 12:00:00: (mod_auth.c.123) text", ": (mod_auth.c.123) text"),
        ("20/Nov/2026:12:00:00 text", "text"),
        ("1795176000.524     52 192.0.2.1", "52 192.0.2.1"),
        ("Fri Nov 20 12:00:00 2026 : Auth: text", ": Auth: text"),
        ("Fri Nov 20 12:00:00 2026 [pid 2] text", "[pid 2] text"),
        ("Nov 20 12:00:00 imap-login: text", "imap-login: text"),
        ("Nov 2 12:00:00 imap-login: text", "imap-login: text"),
    ] {
        assert_eq!(read(text, REFERENCE).map(|(_, rest)| rest), Some(rest), "{text}");
    }
}

#[test]
fn a_zone_that_only_some_lines_have_is_their_stamps() {
    for (without, with) in [
        (
            "2026-11-20 12:00:00 text that is long enough for a template",
            "2026-11-20 12:00:01 +0100 text that is long enough",
        ),
        (
            "2026-11-20 12:00:00.123 text that is long enough for one",
            "2026-11-20 12:00:01.123 CET text that is long enough",
        ),
        (
            "20-Nov-2026 12:00:00 text that is long enough for a template",
            "20-Nov-2026 12:00:01 UTC text that is long enough",
        ),
        (
            "20/Nov/2026:12:00:00 text that is long enough for a template",
            "20/Nov/2026:12:00:01 +0100 text that is long enough",
        ),
        (
            "[20-Nov-2026 12:00:00 text that is long enough for a template",
            "[20-Nov-2026 12:00:01 Europe/Berlin] text that is long",
        ),
    ] {
        let mut usual = Usual::default();
        for text in [without, with, without, with].map(str::as_bytes) {
            assert_eq!(usual.stamp(text), stamp(text), "{}", String::from_utf8_lossy(text));
        }
    }
}

#[test]
fn a_day_that_is_not_padded() {
    for (text, expected) in
        [("Nov 2 12:00:00 text", "2026-11-02T11:00:00Z"), ("Nov 2 12:00:00.5 text", "2026-11-02T11:00:00.5Z")]
    {
        assert_eq!(read(text, REFERENCE), Some((Some(wall(expected)), "text")), "{text}");
    }
    for text in ["Nov    12:00:00", "Nov 0 12:00:00", "Nov x 12:00:00"] {
        assert_eq!(bsd("UTC0", &format!("{text:<15}")[..15], REFERENCE), None, "{text}");
    }
}

#[test]
fn the_zone_that_php_names() {
    let text = "[20-Nov-2026 12:00:00 America/New_York] PHP Warning";
    // Without a time zone database the machine's zone is all there is.
    let known = TimeZone::get("America/New_York").is_ok();
    let expected = if known { "2026-11-20T17:00:00Z" } else { "2026-11-20T11:00:00Z" };
    assert_eq!(read(text, REFERENCE), Some((Some(wall(expected)), "PHP Warning")));
    let unknown = "[20-Nov-2026 12:00:00 Atlantis/City] text";
    assert_eq!(read(unknown, REFERENCE), Some((Some(wall("2026-11-20T11:00:00Z")), "text")));
}

#[test]
fn what_has_the_shape_and_is_no_time() {
    for text in [
        "2026-13-20 12:00:00",
        "2026-02-30 12:00:00",
        "2026-11-20 24:00:00",
        "2026-11-20 12:60:00",
        "2026-11-20 12:00:61",
        "2026/00/20 12:00:00",
        "99/Nov/2026:12:00:00 +0000",
        "20/Nix/2026:12:00:00 +0000",
        "Fri Nix 20 12:00:00 2026",
        "261320 12:00:00",
        "Xxx  1 00:00:00",
        "Nov 31 00:00:00",
    ] {
        assert_eq!(read(text, REFERENCE), Some((None, "")), "{text}");
    }
}

#[test]
fn what_is_no_stamp() {
    for text in [
        "",
        "[",
        "[]",
        "[[2026-11-20 12:00:00]]",
        "2026-11-20",
        "2026-11-20 12:00",
        "2026-11-20 12:00:0x",
        "2026-11-20  12:00:00",
        "2026-11-20   1:02:03",
        "2026-11-20 1:02:03",
        "2026-11-20T 1:02:03",
        "2026-11-20_12:00:00",
        "2026-11-20 12:00:00x",
        "2026-11-20 12:00:00.",
        "2026-11-20 12:00:00.1234567890",
        "２０２６-11-20 12:00:00",
        "20/nov/2026:12:00:00",
        "261120 1:02:03",
        "123456789",
        "12345678901",
        "17951760001234",
        "1795176000.5.2",
        "192.0.2.1 - - [20/Nov/2026:12:00:00 +0000]",
        "nov 20 12:00:00",
        "Fri Nov 20 12:00:00",
        "Fri, 20 Nov 2026 12:00:00",
    ] {
        assert_eq!(stamp(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn stamps_without_a_zone_stand_back_and_no_others() {
    let mut stamps = Stamps::new(berlin());
    let mut read = |text: &str, behind: i64| {
        stamps.stand_back(behind);
        let (stamp, _) = stamp(text.as_bytes()).unwrap();
        stamps.read(stamp, wall("2026-11-20T12:00:00Z")).unwrap().to_string()
    };
    for text in ["Nov 20 12:00:05", "2026-11-20 12:00:05", "2026/11/20 12:00:05", "Fri Nov 20 12:00:05 2026"]
    {
        for (behind, time) in [(0, "11"), (3_600_000, "12"), (3_600_000, "12"), (0, "11")] {
            assert_eq!(read(text, behind), format!("2026-11-20T{time}:00:05Z"), "{text}");
        }
    }
    for text in
        ["2026-11-20T12:00:05Z", "20/Nov/2026:12:00:05 +0000", "2026-11-20T13:00:05+01:00", "1795176005"]
    {
        for behind in [0, 3_600_000, 3_600_000] {
            assert_eq!(read(text, behind), "2026-11-20T12:00:05Z", "{text}");
        }
    }
}

#[test]
fn the_year_comes_from_the_reference() {
    let cases = [
        ("Nov  1 00:00:05", "2026-11-20T00:00:00Z", "2026-11-01T00:00:05Z"),
        ("Dec 31 23:59:59", "2027-01-01T00:00:01Z", "2026-12-31T23:59:59Z"),
        ("Jan  1 00:00:01", "2026-12-31T23:59:58Z", "2027-01-01T00:00:01Z"),
        ("Nov 21 12:00:00", "2026-11-20T13:00:00Z", "2026-11-21T12:00:00Z"),
        ("Nov 22 12:00:00", "2026-11-20T11:00:00Z", "2025-11-22T12:00:00Z"),
        ("Feb 29 12:00:00", "2026-03-01T00:00:00Z", "2024-02-29T12:00:00Z"),
        ("Feb 29 12:00:00", "2028-02-29T12:00:01Z", "2028-02-29T12:00:00Z"),
    ];
    for (text, reference, expected) in cases {
        assert_eq!(bsd("UTC0", text, reference).as_deref(), Some(expected), "{text} at {reference}");
    }
}

#[test]
fn local_time_and_the_repeated_hour() {
    let zone = BERLIN;
    assert_eq!(bsd(zone, "Jul  1 12:00:00", "2026-07-01T10:00:01Z").unwrap(), "2026-07-01T10:00:00Z");
    // 2026-10-25: 03:00 CEST becomes 02:00 CET, so 02:30 comes twice.
    let mut stamps = Stamps::new(berlin());
    for text in ["Oct 25 02:30:00", "2026-10-25 02:30:00", "2026/10/25 02:30:00", "Sun Oct 25 02:30:00 2026"]
    {
        for hour in ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"] {
            let (stamp, _) = stamp(text.as_bytes()).unwrap();
            assert_eq!(stamps.read(stamp, wall(hour)), Some(wall(hour)), "{text} at {hour}");
        }
    }
    // 2026-03-29: 02:00 CET becomes 03:00 CEST, so 02:30 never comes.
    assert_eq!(bsd(zone, "Mar 29 02:30:00", "2026-03-29T01:30:01Z").unwrap(), "2026-03-29T01:30:00Z");
}

#[test]
fn the_header_of_a_syslog_line() {
    for text in ["Nov  1 00:00 00", "Nov  x 00:00:00", "Nov  1 00:00:61", "Nov  1 24:00:00"] {
        assert_eq!(bsd("UTC0", text, "2026-11-20T00:00:00Z"), None, "{text}");
    }
    let mut stamps = Stamps::new(berlin());
    let reference = wall("2026-11-20T00:00:00Z");
    for (text, expected, length) in [
        ("2026-11-01T00:00:00.123456+01:00 x", "2026-10-31T23:00:00.123Z", 32),
        ("2026-11-01T00:00:07+0100 x", "2026-10-31T23:00:07Z", 24),
        ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z", 20),
        ("2026-11-01T00:00:00.5-02:30", "2026-11-01T02:30:00.5Z", 27),
        ("2026-07-01 12:00:00 x", "2026-07-01T10:00:00Z", 19),
    ] {
        assert_eq!(stamps.iso(text.as_bytes(), reference), Some((wall(expected), length)), "{text}");
    }
    for text in ["2026-13-01T00:00:00Z", "2026-11-01T00:00:0", "2026-11-01T00:00:00.", "20261101T000000Z", ""]
    {
        assert_eq!(stamps.iso(text.as_bytes(), reference), None, "{text}");
    }
}

/// A stamp in any notation: its text, and whether it has a year.
fn written(notation: usize, time: DateTime, millis: i16) -> String {
    let form = match notation {
        0 => "%b %e %H:%M:%S",
        1 => "%Y-%m-%d %H:%M:%S.000",
        2 => "%Y-%m-%dT%H:%M:%S,000",
        3 => "%Y/%m/%d %H:%M:%S.000",
        4 => "%d/%b/%Y:%H:%M:%S.000",
        5 => "%a %b %e %H:%M:%S.000 %Y",
        6 => "%d-%b-%Y %H:%M:%S.000",
        8 => "%Y-%m-%d %k:%M:%S.000",
        9 => "%b %e %H:%M:%S.000",
        10 => "%a %Y-%m-%d %H:%M:%S.000",
        _ => "%y%m%d %H:%M:%S",
    };
    time.strftime(form).to_string().replacen(".000", &format!(".{millis:03}"), 1).replacen(
        ",000",
        &format!(",{millis:03}"),
        1,
    )
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let rest = "(| [+-]0[0-9]00| CEST| UTC| Etc/UTC)(\\]|)( |:)[ -~]{0,60}";
    let stamped = (0..11usize, 1_704_067_200i64..1_893_456_000, 0..1000i16, "(\\[|)", rest).prop_map(
        |(notation, seconds, millis, open, rest)| {
            let time = TimeZone::UTC.to_datetime(Timestamp::from_second(seconds).unwrap());
            format!("{open}{}{rest}", written(notation, time, millis)).into_bytes()
        },
    );
    prop_oneof![
        4 => stamped,
        2 => "\\[?[ 0-9]{1,6}[0-9./:A-Za-z -]{5,40}\\]?[ -~]{0,40}".prop_map(String::into_bytes),
        1 => "\\[?[0-9]{9,14}(\\.[0-9]{0,10})?\\]? [ -~]{0,40}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..80),
    ]
}

proptest! {
    #[test]
    fn reads_what_jiff_writes(notation in 0..11usize, seconds in 1_704_067_200i64..1_893_456_000, millis in 0..1000i16, ahead in 0..80_000i64) {
        let at = Timestamp::from_second(seconds).unwrap();
        let zoned = at.to_zoned(berlin());
        let text = written(notation, zoned.datetime(), millis);
        let millis = if matches!(notation, 0 | 7) { 0 } else { i64::from(millis) };
        let (stamp, rest) = stamp(text.as_bytes()).unwrap();
        prop_assert_eq!(rest, text.len());
        // In the repeated hour the reference decides: it lies right behind the time itself, or far.
        let reference = if seconds % 2 == 0 { seconds } else { seconds + ahead };
        let folded = jiff::tz::TimeZone::posix(BERLIN).unwrap().to_ambiguous_timestamp(zoned.datetime()).is_ambiguous();
        if !folded || reference == seconds {
            let read = Stamps::new(berlin()).read(stamp, Wall(reference * 1000));
            prop_assert_eq!(read, Some(Wall(seconds * 1000 + millis)), "{}", text);
        }
    }

    #[test]
    fn remembering_changes_nothing(
        start in prop::sample::select(vec![
            // The clocks go back, they go forward, a year ends, and nothing happens.
            "2026-10-24T23:58:00Z", "2026-03-29T00:00:00Z", "2026-12-31T21:00:00Z", "2026-06-01T00:00:00Z",
        ]),
        // Few minutes, each read often, soon and late; a day behind, a stamp without a year means the year before.
        minutes in proptest::collection::vec((0..11usize, 0..150i64), 1..4),
        readings in proptest::collection::vec((any::<prop::sample::Index>(), 0..60i64, 0..8000i64, 0..3i64), 1..60),
    ) {
        let mut stamps = Stamps::new(berlin());
        for (minute, second, later, days) in readings {
            let (notation, after) = minutes[minute.index(minutes.len())];
            let seconds = wall(start).seconds() + after * 60 + second;
            let text = written(notation, Timestamp::from_second(seconds).unwrap().to_zoned(berlin()).datetime(), 0);
            let (stamp, _) = stamp(text.as_bytes()).unwrap();
            let reference = Wall((seconds + later - days * 86_400) * 1000);
            let fresh = Stamps::new(berlin()).read(stamp, reference);
            prop_assert_eq!(stamps.read(stamp, reference), fresh, "{} at {}", text, reference);
        }
    }

    #[test]
    fn a_later_reference_never_means_an_earlier_time(
        notation in 0..11usize, seconds in 1_704_067_200i64..1_893_456_000, around in 0..100_000_000i64, later in 0..100_000i64,
        near: bool,
    ) {
        // Near a change of the clocks, or anywhere.
        let seconds = if near { wall("2026-10-24T22:30:00Z").seconds() + seconds % 14_400 } else { seconds };
        let zoned = Timestamp::from_second(seconds).unwrap().to_zoned(berlin());
        let text = written(notation, zoned.datetime(), 0);
        let (stamp, _) = stamp(text.as_bytes()).unwrap();
        let reference = seconds + if near { around % 10_800 - 3600 } else { around - 50_000_000 };
        let read = |reference: i64| Stamps::new(berlin()).read(stamp, Wall(reference * 1000));
        prop_assert!(read(reference) <= read(reference + later), "{} at {} and {} later", text, reference, later);
    }

    #[test]
    fn the_usual_stamp_is_the_stamp(texts in proptest::collection::vec(any_text(), 1..30)) {
        let mut usual = Usual::default();
        for text in &texts {
            prop_assert_eq!(usual.stamp(text), stamp(text), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn digits_of_the_usual_stamp_may_change_and_nothing_else(text in any_text(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut text = text;
        text.resize(text.len().max(60), b' ');
        let mut usual = Usual::default();
        usual.stamp(&text);
        let at = at.index(50);
        text[at] = byte;
        prop_assert_eq!(usual.stamp(&text), stamp(&text), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn nothing_panics_and_everything_is_within_the_text(text in any_text(), reference: i64) {
        if let Some((stamp, rest)) = stamp(&text) {
            prop_assert!(rest <= text.len());
            prop_assert!(text.as_ptr_range().contains(&stamp.text.as_ptr()));
            let _ = Stamps::new(berlin()).read(stamp, Wall(reference));
        }
        let mut stamps = Stamps::new(berlin());
        let first = stamps.iso(&text, Wall(reference));
        prop_assert_eq!(stamps.iso(&text, Wall(reference)), first);
    }
}
