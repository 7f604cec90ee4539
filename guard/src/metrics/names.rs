//! Every metric guard exports: name, kind, labels, meaning. Base units (seconds, bytes), bounded labels, never an
//! address. `docs/metrics.md` is generated from this list.

/// What a metric's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the daemon lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

impl MetricKind {
    /// The word of the exposition format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Its label names, in the order of the values.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// Declares the metrics and the list of all of them.
macro_rules! metrics {
    ($($id:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric =
                Metric { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help };
        )*

        /// Every metric, in the order of the exposition.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    BUILD_INFO Gauge "guard_build_info" ["version"]
        "Always 1; the label says which guard this is.";
    PROBLEMS Gauge "guard_problems" []
        "Things that need attention now; `guardctl status` names them.";
    RESTORED Gauge "guard_restored" []
        "Whether all bans of the store have been restored since the start (1) or not yet (0).";

    SOURCE_LINES Counter "guard_source_lines_total" ["source"]
        "Lines or journal entries read.";
    SOURCE_BYTES Counter "guard_source_bytes_total" ["source"]
        "Bytes of lines or journal entries read.";
    SOURCE_MATCHES Counter "guard_source_matches_total" ["source"]
        "Lines that a pattern matched.";
    SOURCE_CUT Counter "guard_source_cut_lines_total" ["source"]
        "Lines longer than 64 KiB, of which only the beginning was looked at.";
    SOURCE_UNTRUSTED Counter "guard_source_untrusted_entries_total" ["source"]
        "Journal entries refused because their trusted fields did not fit.";
    SOURCE_GAPS Counter "guard_source_gaps_total" ["source"]
        "Losses: bytes or entries truncated, rotated or vacuumed away before they were read.";
    SOURCE_HEALTHY Gauge "guard_source_healthy" ["source"]
        "Whether lines can arrive (1) or not (0).";
    SOURCE_LAG Gauge "guard_source_lag" ["source", "unit"]
        "What exists but has not been read yet; unit is `bytes` for files, `entries` for the journal.";
    SOURCE_SILENT Gauge "guard_source_silent_seconds" ["source"]
        "Time since the last line or journal entry; 0 before the first.";
    SOURCE_UNMATCHED Gauge "guard_source_unmatched_ratio" ["source"]
        "Share of lines that no pattern matched among the latest of programs that filters read.";
    SOURCE_FAULT Gauge "guard_source_fault" ["source", "fault"]
        "Whether a source does worse than it used to (1) or not (0): silent, unmatched, behind, gaps.";

    SIGHTINGS Counter "guard_sightings_total" ["filter", "kind"]
        "Sightings judged, by filter and by what the line says.";
    SIGHTINGS_JOINED Counter "guard_sightings_joined_total" []
        "Sightings that belonged to an attempt which had counted already.";
    SIGHTINGS_TOO_OLD Counter "guard_sightings_too_old_total" []
        "Sightings older than the window.";
    TRACKED Gauge "guard_tracked_sources" []
        "Addresses that are remembered: those with a score, and those that have guessed within a day.";
    EVICTED Counter "guard_evicted_sources_total" []
        "Addresses forgotten to make room: raise `decide.max_sources` if this grows.";
    GROUPS_EVICTED Counter "guard_evicted_groups_total" []
        "Accounts under attack, and prefixes whose hosts were banned or have failed, that were forgotten to make room.";

    BANS Counter "guard_bans_total" ["rule"]
        "Bans begun or extended, by the filter that led to them; `rule:` and its name for a rule, `manual` for guardctl.";
    BANS_REFUSED Counter "guard_bans_refused_total" []
        "Bans that the allowlist or a protection refused.";
    BANS_EVICTED Counter "guard_bans_evicted_total" []
        "Bans given up before their end because `decide.max_bans` was reached.";
    BANS_ACTIVE Gauge "guard_active_bans" ["family", "backend"]
        "Bans in force, by address family and by what enforces them.";

    INCIDENTS Counter "guard_incidents_total" ["incident"]
        "Incidents: what people should know of besides bans, such as `success-after-failures`.";
    PREFIXES_SPARED Counter "guard_prefixes_spared_total" []
        "Prefixes not banned because somebody had logged in from them within a day.";
    LOGINS_EVICTED Counter "guard_evicted_logins_total" []
        "Addresses that somebody had logged in from within a day, forgotten to make room: their prefixes may be banned.";
    STORMS Counter "guard_storms_total" []
        "Times that many bans came at once: bans of single addresses go on, prefixes wait.";
    STORM Gauge "guard_storm" []
        "Whether there is such a storm now.";
    HELD Counter "guard_held_bans_total" []
        "Bans of prefixes that had to wait for the end of a storm.";
    UNHELD Counter "guard_unheld_bans_total" []
        "Bans of prefixes that could not wait for it because too many did: they come after it, with the next banned host.";

    RULE_MATCHES Counter "guard_rule_matches_total" ["rule"]
        "Sightings a rule held for, by its name; the rules behind the first hundred are `other`.";
    RULE_ACTS Counter "guard_rule_acts_total" ["rule"]
        "Sightings a rule acted on.";
    RULE_SIMULATED Counter "guard_rule_simulated_total" ["rule"]
        "Sightings a rule in simulation would have acted on.";
    RULE_LIMITED Counter "guard_rule_limited_total" ["rule"]
        "Times a rate limit held back a rule, one of its actions, or the event of a simulation.";
    COMMANDS Counter "guard_commands_total" ["outcome"]
        "Commands of rules: done, failed, timeout, dropped (too many waited).";
    WEBHOOKS Counter "guard_webhooks_total" ["outcome"]
        "Documents that rules sent to web servers: done, failed, timeout, dropped (too many waited).";

    PACKETS Counter "guard_packets_total" ["reason"]
        "Packets judged by the kernel, by the reason of the verdict, over all interfaces.";
    PACKET_BYTES Counter "guard_packet_bytes_total" ["reason"]
        "Bytes of the packets judged by the kernel.";
    DROPPED Counter "guard_dropped_packets_total" ["interface", "reason"]
        "Packets dropped, by interface and reason.";
    DROPPED_BYTES Counter "guard_dropped_bytes_total" ["interface", "reason"]
        "Bytes of the packets dropped.";
    INTERFACE Gauge "guard_interface_info" ["interface", "mode"]
        "Always 1; mode is how the interface is covered: native, generic, nftables, none.";
    MAP_ENTRIES Gauge "guard_map_entries" ["map"]
        "Entries in a map or set of the kernel.";
    MAP_CAPACITY Gauge "guard_map_capacity" ["map"]
        "Entries a map or set takes without growing; 0 for one without bound.";
    ENFORCER_ERRORS Counter "guard_enforcer_errors_total" []
        "Changes to the kernel that failed; each is followed by a reconciliation.";
    DRIFT Counter "guard_drift_total" ["kind"]
        "Differences between kernel and wanted bans that were put right: missing, foreign, changed, attachments.";
    LINE_TO_KERNEL Histogram "guard_line_to_kernel_seconds" []
        "Time from reading the line that tipped a ban to the kernel's confirmation of the ban.";

    FEED_TARGETS Gauge "guard_feed_targets" ["feed"]
        "Targets that a feed lists; 0 before the first list.";
    FEED_BANS Gauge "guard_feed_bans" ["feed"]
        "Bans that stand because a feed lists their targets.";
    FEED_AGE Gauge "guard_feed_age_seconds" ["feed"]
        "Time since the list of a feed was fetched, or found to be as it is; 0 before the first list.";
    FEED_REFUSED Gauge "guard_feed_refused_entries" ["feed", "because"]
        "What of the last list was not taken: rubbish, `too_wide`, protected (in part or as a whole), `no_room`.";
    FEED_HELD Gauge "guard_feed_held" ["feed"]
        "Whether a new list waits to be accepted because it lost too much (1) or not (0).";
    FEED_FAILURES Counter "guard_feed_failures_total" ["feed"]
        "Times a feed could not be fetched or used.";

    ALLOWED_NAMES Gauge "guard_allowed_names" ["state"]
        "Names that are allowed: current, kept (with addresses of an earlier answer), unknown (without any).";
    NAME_FAILURES Counter "guard_name_failures_total" []
        "Times that a name which is allowed could not be resolved.";

    STORE_QUEUED Gauge "guard_store_queued_writes" []
        "Writes that wait for the store.";
    STORE_FAILURES Counter "guard_store_failures_total" []
        "Transactions of the store that failed.";
    STORE_LOST Counter "guard_store_lost_writes_total" []
        "Writes given up: what they held does not survive a restart.";

    API_REQUESTS Counter "guard_api_requests_total" []
        "Requests taken on the control socket.";
    API_REFUSED Counter "guard_api_refused_total" ["because"]
        "Requests and connections refused on the control socket: denied, malformed, `too_many`.";

    CPU Counter "guard_process_cpu_seconds_total" []
        "User and system time of the daemon.";
    RESIDENT Gauge "guard_process_resident_bytes" []
        "Resident memory of the daemon.";
    OPEN_FDS Gauge "guard_process_open_fds" []
        "Open file descriptors of the daemon.";
    STARTED Gauge "guard_process_start_time_seconds" []
        "When the daemon started, in seconds since the Unix epoch.";
}
