/// Actions of clients, remote hosts and time against the reference model of NAT and policy, see
/// [`webtun_tests::model`].
pub fn gateway_model(data: &[u8]) {
    // An hour of virtual time takes the same real time whatever happens in it, so a run must not wait for ever.
    webtun_tests::model::run(&data[..data.len().min(1 + 8 * 600)]);
}
