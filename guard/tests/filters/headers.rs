//! How corpus messages become lines.

use guard::time::Wall;

/// When the lines are read.
pub(crate) const NOW: Wall = Wall(1_795_215_245_000);
/// What stands before a message in each form of header, around the identifier.
pub(crate) const HEADERS: [(&str, &str); 12] = [
    ("Nov 20 22:54:05 web1 ", "[4711]: "),
    ("2026-11-20T22:54:05.123456+00:00 web1 ", "[4711]: "),
    ("<38>Nov 20 22:54:05 web1 ", "[4711]: "),
    ("<38>1 2026-11-20T22:54:05Z web1 ", " 4711 - - "),
    ("Nov 20 22:54:05.123456 web1 ", "[4711]: "),
    ("Fri 2026-11-20 22:54:05 UTC web1 ", "[4711]: "),
    ("Fri Nov 20 22:54:05 2026 daemon.info ", "[4711]: "),
    ("2026-11-20 22:54:05.123456 web1 ", "[4711]: "),
    ("Nov 20 2026 22:54:05 web1 ", "[4711]: "),
    ("1795215245.123456 web1 ", "[4711]: "),
    ("1 2026-11-20T22:54:05Z web1 ", " 4711 - - "),
    ("Nov 20 22:54:05 web1 ", "[4711]: [ID 800047 auth.info] "),
];
