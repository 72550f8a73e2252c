// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with a netlink message, said so that whoever sent it can be found.

use thiserror::Error;

use super::Topic;

/// Why a message is not understood.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum NetlinkError {
    /// Its bytes are not those of such a message.
    #[error(transparent)]
    Message(#[from] weft_netlink::NetlinkError),
    /// The topic announces something else.
    #[error("topic '{topic}' carries netlink type {found}: expected {}", topic.expected())]
    Topic {
        /// As published.
        topic: Topic,
        /// `nlmsg_type`.
        found: u16,
    },
}
