use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use webtun_stack::bridge::{FrameDrop, SegmentStats};

type Label = [(&'static str, &'static str); 1];

/// What happens at the doors; clones count together.
#[derive(Clone, Debug)]
pub struct DoorFigures {
    /// Rooms now.
    pub rooms: Gauge,
    /// Emulators now.
    pub ports: Gauge,
    frames: Family<Label, Counter>,
    drops: Family<Label, Counter>,
}

impl Default for DoorFigures {
    /// All reasons begin at zero, so that a rate can be had from the first one on.
    fn default() -> Self {
        let (frames, drops) = (Family::<Label, Counter>::default(), Family::<Label, Counter>::default());
        for direction in ["received", "sent"] {
            drop(frames.get_or_create(&[("direction", direction)]));
        }
        for reason in FrameDrop::ALL {
            drop(drops.get_or_create(&[("reason", reason.label())]));
        }
        Self { rooms: Gauge::default(), ports: Gauge::default(), frames, drops }
    }
}

impl DoorFigures {
    /// Has them shown.
    pub(in crate::io) fn register(&self, registry: &mut Registry) {
        registry.register("webtun_door_rooms", "Rooms for virtual machines now", self.rooms.clone());
        registry.register("webtun_door_ports", "Emulators in rooms now", self.ports.clone());
        registry.register("webtun_door_frames", "Ethernet frames by direction", self.frames.clone());
        registry.register("webtun_door_dropped_frames", "Ethernet frames dropped by reason", self.drops.clone());
    }

    /// Adds what a segment has counted since `before`.
    pub(super) fn add(&self, before: &SegmentStats, now: &SegmentStats) {
        let frames = |direction, count| {
            self.frames.get_or_create(&[("direction", direction)]).inc_by(count);
        };
        frames("received", now.frames_received - before.frames_received);
        frames("sent", now.frames_sent - before.frames_sent);
        for reason in FrameDrop::ALL {
            let count = now.drops(reason) - before.drops(reason);
            if count > 0 {
                self.drops.get_or_create(&[("reason", reason.label())]).inc_by(count);
            }
        }
    }
}
