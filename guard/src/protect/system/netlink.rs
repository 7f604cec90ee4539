//! One request, all its answers, over a blocking netlink socket.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// Set on answers when the table changed while it was read (linux/netlink.h).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// How often a table that keeps changing is read again; then it is taken as it came.
const ATTEMPTS: u32 = 4;

/// Sends a dump request and hands every answer to `each`. Where the table changed meanwhile, answers come again.
pub(super) fn dump<M>(protocol: isize, request: &M, mut each: impl FnMut(M)) -> io::Result<()>
where
    M: NetlinkSerializable + NetlinkDeserializable + Clone + Into<NetlinkPayload<M>>,
{
    for _ in 0..ATTEMPTS {
        if dump_once(protocol, request.clone(), &mut each)? {
            break;
        }
    }
    Ok(())
}

/// Whether the answers are of one state of the table.
fn dump_once<M>(protocol: isize, request: M, each: &mut impl FnMut(M)) -> io::Result<bool>
where
    M: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<M>>,
{
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    send(&socket, request)?;
    let mut consistent = true;
    loop {
        let (bytes, from) = socket.recv_from_full()?;
        if from.port_number() != 0 {
            continue; // only the kernel speaks for the kernel
        }
        let mut rest = &bytes[..];
        while let Ok(buffer) = NetlinkBuffer::new_checked(&rest) {
            consistent &= buffer.flags() & NLM_F_DUMP_INTR == 0;
            let length = (buffer.length() as usize).next_multiple_of(4).min(rest.len());
            match NetlinkMessage::<M>::deserialize(rest).map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(message)) => each(message),
                Ok(NetlinkPayload::Done(_)) => return Ok(consistent),
                Ok(NetlinkPayload::Error(e)) if e.code.is_some() => return Err(e.to_io()),
                // An answer in a shape this guard does not know leaves the others readable.
                _ => {}
            }
            rest = &rest[length..];
        }
    }
}

fn send<M>(socket: &Socket, request: M) -> io::Result<()>
where
    M: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<M>>,
{
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map(|_| ())
}
