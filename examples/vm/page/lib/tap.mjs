// Who listens in on a network card.

/** The same Ethernet, except that `heard(frame, sent)` is called with every frame of the cards that are plugged in here. */
export function tapped(net, heard) {
  return {
    plug: (card) =>
      net.plug({
        onSend: (listener) =>
          card.onSend((frame) => {
            heard(frame, true);
            listener(frame);
          }),
        receive: (frame) => {
          heard(frame, false);
          card.receive(frame);
        },
        hasRoom: () => card.hasRoom?.() ?? true,
      }),
  };
}
