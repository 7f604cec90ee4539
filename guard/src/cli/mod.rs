//! guardctl: arguments in, text or JSON out.
