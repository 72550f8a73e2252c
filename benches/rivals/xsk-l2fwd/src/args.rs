// SPDX-License-Identifier: Apache-2.0
//! What may be set from the command line. Parsed by hand: the program has a dozen options and no other dependency.

use std::collections::HashMap;
use std::str::FromStr;

pub const USAGE: &str = "\
usage: xsk-l2fwd --ports IF_A,IF_B [options]
  --cpu N               pin the loop to this core (default: not pinned)
  --ring N              entries of each ring, a power of two (256)
  --frames N            UMEM frames of each direction, at most the ring (256)
  --batch N             packets taken from a ring at once, 1..256 (64)
  --tx-budget N         frames that one send call may transmit, XDP_MAX_TX_SKB_BUDGET (32)
  --mac-ab DST,SRC      addresses of frames from A to B (default: swapped)
  --mac-ba DST,SRC      addresses of frames from B to A (default: swapped)
  --skb-mode            attach XDP in generic mode
  --wait MS             sleep in poll(2) for at most MS when nothing came (default 0: spin)
  --seconds S           stop after S seconds (default: at SIGINT or SIGTERM)";

/// A frame's first 12 bytes: destination, then source.
pub type MacPair = [u8; 12];

#[derive(Debug)]
pub struct Args {
    pub ports: [String; 2],
    pub cpu: Option<usize>,
    pub ring: u32,
    pub frames: u32,
    pub batch: usize,
    pub tx_budget: u32,
    /// Of frames received on port 0 and on port 1; `None` swaps.
    pub macs: [Option<MacPair>; 2],
    pub skb_mode: bool,
    pub wait_ms: i32,
    pub seconds: Option<f64>,
}

impl Args {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut given = HashMap::new();
        let mut skb_mode = false;
        while let Some(word) = words.next() {
            if word == "--skb-mode" {
                skb_mode = true;
                continue;
            }
            let known = [
                "--ports",
                "--cpu",
                "--ring",
                "--frames",
                "--batch",
                "--tx-budget",
                "--mac-ab",
                "--mac-ba",
                "--wait",
                "--seconds",
            ];
            if !known.contains(&word.as_str()) {
                return Err(format!("unknown option `{word}`"));
            }
            let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
            given.insert(word, value);
        }

        let (a, b) = given
            .get("--ports")
            .and_then(|v| v.split_once(','))
            .ok_or("`--ports` needs two interface names, IF_A,IF_B")?;
        let ring = number(&given, "--ring", 256)?;
        let args = Self {
            ports: [a.to_owned(), b.to_owned()],
            cpu: given.get("--cpu").map(|_| number(&given, "--cpu", 0)).transpose()?,
            ring,
            frames: number(&given, "--frames", ring)?,
            batch: number(&given, "--batch", 64)?,
            tx_budget: number(&given, "--tx-budget", 32)?,
            macs: [mac_pair(&given, "--mac-ab")?, mac_pair(&given, "--mac-ba")?],
            skb_mode,
            wait_ms: number(&given, "--wait", 0)?,
            seconds: given.get("--seconds").map(|_| number(&given, "--seconds", 0.0)).transpose()?,
        };
        if !args.ring.is_power_of_two() {
            return Err(format!("`--ring {}`: expected a power of two", args.ring));
        }
        if args.frames == 0 || args.frames > args.ring {
            return Err(format!("`--frames {}`: expected 1 to the ring's {}", args.frames, args.ring));
        }
        if args.batch == 0 || args.batch > 256 {
            return Err(format!("`--batch {}`: expected 1 to 256", args.batch));
        }
        Ok(args)
    }
}

fn number<T: FromStr>(given: &HashMap<String, String>, key: &str, default: T) -> Result<T, String> {
    given.get(key).map_or(Ok(default), |v| v.parse().map_err(|_| format!("`{key} {v}`: expected a number")))
}

fn mac_pair(given: &HashMap<String, String>, key: &str) -> Result<Option<MacPair>, String> {
    let Some(text) = given.get(key) else {
        return Ok(None);
    };
    let octets: Vec<u8> = text
        .split([':', ','])
        .map(|octet| u8::from_str_radix(octet, 16))
        .collect::<Result<_, _>>()
        .map_err(|_| format!("`{key} {text}`: expected DST,SRC, each aa:bb:cc:dd:ee:ff"))?;
    octets.try_into().map(Some).map_err(|_| format!("`{key} {text}`: expected two addresses of six octets"))
}
