// SPDX-License-Identifier: Apache-2.0
//! The packet of a stream description: headers that nest, and a payload.
//!
//! ```text
//! IP4: 1.2.3 -> 4.5.6 vlan 100
//! UDP: 10.0.0.1 -> 10.1.0.0-10.1.255.255 ttl 64
//! UDP: 1024+65535 -> 53
//! incrementing 20
//! ```
//!
//! Each header names the next one; where the node that the packets go to expects an IP packet, the
//! Ethernet header is left out. Every value may be a range: `LO-HI` counts up, `LO+HI` is random.

use super::edit::{Place, Value};
use super::header::{self, Cover, Field, Header, Layer, Notation, Protocols};
use super::lex::{Cursor, ParseError, parse_number};
use super::template::{Checksum, Description, Length, MAX_CHECKSUMS, Pseudo};

/// Most bytes that a description can have: what fits the 16-bit lengths of IP and UDP.
pub(super) const MAX_BYTES: usize = 65535;

/// A header of IP, for the checksum of the header after it.
#[derive(Clone, Copy)]
struct Ip {
    start: usize,
    header: &'static Header,
}

/// Parses the packet that `cursor` holds, from the header `first` on.
pub(super) fn parse(mut cursor: Cursor<'_>, first: Layer) -> Result<Description, ParseError> {
    let mut parser = Parser { cursor: &mut cursor, packet: Description::default(), ip: None };
    if parser.cursor.is_end() {
        return Err(parser.cursor.error("a packet"));
    }
    let mut layer = first;
    while !parser.at_payload() {
        layer = parser.layer(layer)?;
    }
    parser.payload()?;
    Ok(parser.packet)
}

struct Parser<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    packet: Description,
    ip: Option<Ip>,
}

impl Parser<'_, '_> {
    fn at_payload(&self) -> bool {
        matches!(self.cursor.peek(), "" | "incrementing" | "hex")
    }

    /// One header; returns what it says is next.
    fn layer(&mut self, layer: Layer) -> Result<Layer, ParseError> {
        if self.packet.bytes.len() > MAX_BYTES || self.packet.checksums.len() == MAX_CHECKSUMS {
            return Err(self.cursor.error("fewer headers"));
        }
        match layer {
            Layer::Ethernet => return self.ethernet(),
            Layer::Ip4 => return self.ip(&header::IP4, header::IP4_PROTOCOL),
            Layer::Ip6 => return self.ip(&header::IP6, header::IP6_PROTOCOL),
            Layer::Udp => self.ports("UDP", &header::UDP)?,
            Layer::Tcp => self.ports("TCP", &header::TCP)?,
            Layer::Icmp => self.icmp()?,
            Layer::Arp => self.arp()?,
            Layer::Payload => {
                return Err(self.cursor.error("'incrementing' BYTES, 'hex' 0x... or the end of the packet"));
            }
        }
        Ok(Layer::Payload)
    }

    fn ethernet(&mut self) -> Result<Layer, ParseError> {
        let (ether_type, next) = self.protocol(header::ETHER_TYPES, 16)?;
        let start = self.open(&header::MAC);
        self.ends(&header::MAC, start)?;
        loop {
            let tpid: u16 = if self.cursor.take("vlan") {
                0x8100
            } else if self.cursor.take("dot1ad") {
                0x88a8
            } else {
                break;
            };
            self.packet.bytes.extend_from_slice(&tpid.to_be_bytes());
            let start = self.open(&header::TAG);
            self.field(&header::VLAN_ID, start)?;
            self.options(&header::TAG, start)?;
        }
        self.packet.bytes.extend_from_slice(&(ether_type as u16).to_be_bytes());
        Ok(next)
    }

    fn ip(&mut self, header: &'static Header, protocol: Field) -> Result<Layer, ParseError> {
        let (number, next) = self.protocol(header::IP_PROTOCOLS, 8)?;
        let start = self.open(header);
        self.set(&protocol, start, number);
        // `PROTO:` alone leaves the addresses zero.
        if self.at_address(header) {
            self.ends(header, start)?;
        }
        self.options(header, start)?;
        self.ip = Some(Ip { start, header });
        Ok(next)
    }

    /// Whether the next word can begin an address, and is not another word of `header`.
    fn at_address(&self, header: &Header) -> bool {
        let word = self.cursor.peek();
        word.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')
            && word.strip_suffix(':').is_none_or(|name| name.contains(':'))
            && !header.knows(word)
    }

    fn ports(&mut self, label: &str, header: &'static Header) -> Result<(), ParseError> {
        self.label(label)?;
        let start = self.open(header);
        self.ends(header, start)?;
        self.options(header, start)
    }

    /// `ICMP TYPE[_CODE]`, each by name or number.
    fn icmp(&mut self) -> Result<(), ParseError> {
        let before = *self.cursor;
        if !self.cursor.take("ICMP") && !self.cursor.take("ICMP:") {
            return Err(before.error("'ICMP' TYPE"));
        }
        let at_type = *self.cursor;
        let word = self.cursor.word("an ICMP type")?;
        let (kind, code) = icmp_type(word).ok_or_else(|| {
            let names: Vec<&str> = header::ICMP_TYPES.iter().map(|(name, _)| *name).collect();
            at_type.error(format!("an ICMP type, a number or one of {}, then maybe _CODE", names.join(", ")))
        })?;
        let start = self.open(&header::ICMP);
        self.set(&header::ICMP_TYPE, start, kind);
        self.set(&header::ICMP_CODE, start, code);
        self.options(&header::ICMP, start)
    }

    /// `request: MAC/IP -> MAC/IP`, or `reply: ...`.
    fn arp(&mut self) -> Result<(), ParseError> {
        let before = *self.cursor;
        let opcode = match self.cursor.label("'request:' or 'reply:'")? {
            "request" => 1,
            "reply" => 2,
            _ => return Err(before.error("'request:' or 'reply:'")),
        };
        let start = self.open(&header::ARP);
        self.set(&header::ARP_OPCODE, start, opcode);
        for (i, (mac, ip)) in header::ARP_ENDS.iter().enumerate() {
            if i > 0 && !self.cursor.symbol("->") {
                return Err(self.cursor.error("'->' MAC/ADDRESS"));
            }
            self.field(mac, start)?;
            if !self.cursor.symbol("/") {
                return Err(self.cursor.error("'/' and an IPv4 address"));
            }
            self.field(ip, start)?;
        }
        Ok(())
    }

    /// `NAME:` or a number and a colon.
    fn protocol(&mut self, known: Protocols, bits: usize) -> Result<(u64, Layer), ParseError> {
        let names: Vec<&str> = known.iter().map(|(name, ..)| *name).collect();
        let expected = format!("{} or a number, then ':'", names.join(", "));
        let before = *self.cursor;
        let name = self.cursor.label(&expected)?;
        if let Some((_, number, next)) = known.iter().find(|(known, ..)| *known == name) {
            return Ok((*number, *next));
        }
        let number = parse_number(name).filter(|number| *number < 1 << bits);
        let number = number.ok_or_else(|| before.error(expected))?;
        let next = known.iter().find(|(_, known, _)| *known == number);
        Ok((number, next.map_or(Layer::Payload, |(_, _, next)| *next)))
    }

    fn label(&mut self, name: &str) -> Result<(), ParseError> {
        let before = *self.cursor;
        let expected = format!("'{name}:'");
        match self.cursor.label(&expected)? {
            found if found == name => Ok(()),
            _ => Err(before.error(expected)),
        }
    }

    /// Appends a header with its defaults, and what is computed unless an option says otherwise.
    fn open(&mut self, header: &'static Header) -> usize {
        let start = self.packet.bytes.len();
        self.packet.bytes.extend_from_slice(header.initial);
        if let Some((field, from)) = header.length.and_then(|(name, from)| Some((header.option(name)?, from)))
        {
            self.packet.lengths.push(Length { at: start + field.bit / 8, from: start + from });
        }
        if let Some((field, cover)) =
            header.checksum.and_then(|(name, cover)| Some((header.option(name)?, cover)))
        {
            let pseudo = match (cover, self.ip) {
                (Cover::RestAndPseudo, Some(ip)) => ip.pseudo(header),
                _ => None,
            };
            let to = (cover == Cover::Header).then_some(start + header.initial.len());
            self.packet.checksums.push(Checksum { at: start + field.bit / 8, from: start, to, pseudo });
        }
        start
    }

    /// `SOURCE -> DESTINATION`.
    fn ends(&mut self, header: &'static Header, start: usize) -> Result<(), ParseError> {
        if let Some((source, destination)) = &header.ends {
            self.field(source, start)?;
            if !self.cursor.symbol("->") {
                return Err(self.cursor.error(format!("'->' and the {} {}", header.name, destination.name)));
            }
            self.field(destination, start)?;
        }
        Ok(())
    }

    /// Names with values and words that set a bit, in any order.
    fn options(&mut self, header: &'static Header, start: usize) -> Result<(), ParseError> {
        loop {
            let word = self.cursor.peek();
            if header.noise == Some(word) {
                self.cursor.take(word);
            } else if let Some(field) = header.option(word) {
                self.cursor.take(word);
                self.field(field, start)?;
                let at = start + field.bit / 8;
                self.packet.lengths.retain(|length| length.at != at);
                self.packet.checksums.retain(|checksum| checksum.at != at);
            } else if let Some((_, bit)) = header.flags.iter().find(|(name, _)| *name == word) {
                self.cursor.take(word);
                self.packet.set(Place { bit: 8 * start + bit, bits: 1 }, Value::Fixed(1));
            } else {
                return Ok(());
            }
        }
    }

    fn set(&mut self, field: &Field, start: usize, value: u64) {
        self.packet.set(field.place(start), Value::Fixed(value.into()));
    }

    /// A value or a range of values.
    fn field(&mut self, field: &Field, start: usize) -> Result<(), ParseError> {
        let lo = self.scalar(field)?;
        // The arrow between source and destination begins like a range.
        let value = if !self.cursor.symbol_ahead("->") && self.cursor.symbol("-") {
            Value::Increment { lo, hi: self.upper(field, lo)? }
        } else if self.cursor.symbol("+") {
            Value::Random { lo, hi: self.upper(field, lo)? }
        } else {
            Value::Fixed(lo)
        };
        self.packet.set(field.place(start), value);
        Ok(())
    }

    fn upper(&mut self, field: &Field, lo: u128) -> Result<u128, ParseError> {
        let before = *self.cursor;
        let hi = self.scalar(field)?;
        match hi.checked_sub(lo) {
            None => Err(before.error("the upper end of a range, not below its lower end")),
            Some(span) if span > u64::MAX.into() => Err(before.error("a range of at most 2^64 values")),
            Some(_) => Ok(hi),
        }
    }

    fn scalar(&mut self, field: &Field) -> Result<u128, ParseError> {
        let before = *self.cursor;
        match field.notation {
            Notation::Mac => self.cursor.mac().map(u128::from),
            Notation::Ip4 => self.cursor.ip4().map(|ip| ip.to_bits().into()),
            Notation::Ip6 => self.cursor.ip6().map(|ip| ip.to_bits()),
            Notation::Number => {
                let most = ((1u64 << field.bits) - 1) * field.unit;
                let expected = match field.unit {
                    1 => format!("{}, a number up to {most}", field.name),
                    unit => format!("{}, a multiple of {unit} up to {most}", field.name),
                };
                match self.cursor.number() {
                    Ok(number) if number <= most && number % field.unit == 0 => {
                        Ok((number / field.unit).into())
                    }
                    _ => Err(before.error(expected)),
                }
            }
        }
    }

    /// `incrementing N` and `hex 0x...`, until the end.
    fn payload(&mut self) -> Result<(), ParseError> {
        loop {
            let before = *self.cursor;
            if self.cursor.take("incrementing") {
                let at_count = *self.cursor;
                let count = self.cursor.number()?;
                if count > MAX_BYTES as u64 {
                    return Err(at_count.error(format!("at most {MAX_BYTES} bytes")));
                }
                self.packet.bytes.extend((0..count).map(|i| i as u8));
            } else if self.cursor.take("hex") {
                let bytes = self.cursor.hex()?;
                self.packet.bytes.extend_from_slice(&bytes);
            } else if self.cursor.is_end() {
                return Ok(());
            } else {
                return Err(self.cursor.error("'incrementing' BYTES, 'hex' 0x... or the end of the packet"));
            }
            if self.packet.bytes.len() > MAX_BYTES {
                return Err(before.error(format!("a packet of at most {MAX_BYTES} bytes")));
            }
        }
    }
}

impl Field {
    fn place(&self, start: usize) -> Place {
        Place { bit: 8 * start + self.bit, bits: self.bits }
    }
}

impl Ip {
    fn pseudo(self, header: &'static Header) -> Option<Pseudo> {
        let (source, destination) = self.header.ends.as_ref()?;
        let end = destination.bit + destination.bits;
        let number =
            |layer| header::IP_PROTOCOLS.iter().find(|(.., next)| *next == layer).map(|(_, n, _)| *n as u8);
        let layer = if std::ptr::eq(header, &header::UDP) { Layer::Udp } else { Layer::Tcp };
        Some(Pseudo {
            addresses: self.start + source.bit / 8..self.start + end / 8,
            protocol: number(layer)?,
        })
    }
}

/// `echo_request`, `8`, `destination_unreachable_port_unreachable`, `3_1`.
fn icmp_type(word: &str) -> Option<(u64, u64)> {
    let byte = |text: &str| parse_number(text).filter(|number| *number < 256);
    let named = header::ICMP_TYPES.iter().find_map(|(name, kind)| Some((*kind, word.strip_prefix(name)?)));
    let (kind, rest) = match named {
        Some(found) => found,
        None => {
            let digits = word.find('_').unwrap_or(word.len());
            (byte(&word[..digits])?, &word[digits..])
        }
    };
    if rest.is_empty() {
        return Some((kind, 0));
    }
    let code = rest.strip_prefix('_')?;
    let named = header::ICMP_CODES.iter().find(|(of, name, _)| *of == kind && *name == code);
    Some((kind, named.map(|(.., code)| *code).or_else(|| byte(code))?))
}
