// A capture file as tcpdump and Wireshark read it: draft-ietf-opsawg-pcap, with microseconds.

const MAGIC = 0xa1b2c3d4;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
/** The longest record: more than any frame has. */
const SNAP_LENGTH = 262_144;

/** Frames of one network, as long as they all fit into `limit` octets. */
export class Capture {
  frames = 0;
  octets = FILE_HEADER;
  #limit;
  #parts = [fileHeader()];

  constructor(limit) {
    this.#limit = limit;
  }

  /** Takes a copy of the frame, seen at this time (milliseconds since 1970). False where it has no room, nor any that follows. */
  add(frame, milliseconds) {
    const length = RECORD_HEADER + frame.length;
    if (this.octets + length > this.#limit) {
      this.#limit = 0;
      return false;
    }
    const record = new Uint8Array(length);
    const view = new DataView(record.buffer);
    const micros = Math.round(milliseconds * 1000);
    [Math.floor(micros / 1e6), micros % 1e6, frame.length, frame.length].forEach((word, index) =>
      view.setUint32(4 * index, word, true),
    );
    record.set(frame, RECORD_HEADER);
    this.#parts.push(record);
    this.octets += length;
    this.frames += 1;
    return true;
  }

  /** All of it so far. */
  file() {
    return new Blob(this.#parts, { type: "application/vnd.tcpdump.pcap" });
  }
}

function fileHeader() {
  const view = new DataView(new ArrayBuffer(FILE_HEADER));
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, SNAP_LENGTH, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return new Uint8Array(view.buffer);
}
