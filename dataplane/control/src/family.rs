// SPDX-License-Identifier: Apache-2.0
//! Address families in change sets.
//!
//! Steps, objects and errors are of all families; what makes them is written once for each. Here is how a route and an error of
//! one family go into those types, and how its routes are found there again.

use weft_nodes::fib::{Change, Ip4, Ip6, RouteError};
use weft_nodes::interface::TableIndex;
use weft_nodes::router::{Routed, RouterError};

use crate::error::StepError;
use crate::step::RouteStep;

/// A family that change sets configure.
pub trait Configured: Routed {
    /// A change of a route as a step.
    fn step(table: TableIndex, change: Change<Self>) -> RouteStep;
    /// The change of a route of this family that a step is.
    fn route_of(step: &RouteStep) -> Option<(TableIndex, &Change<Self>)>;
    /// What the router says.
    fn router_error(error: RouterError<Self>) -> StepError;
    /// What a table says of a route.
    fn route_error(error: RouteError<Self>) -> StepError;
}

macro_rules! configured {
    ($family:ident) => {
        impl Configured for $family {
            fn step(table: TableIndex, change: Change<$family>) -> RouteStep {
                RouteStep::$family(table, change)
            }

            fn route_of(step: &RouteStep) -> Option<(TableIndex, &Change<$family>)> {
                match step {
                    RouteStep::$family(table, change) => Some((*table, change)),
                    _ => None,
                }
            }

            fn router_error(error: RouterError<$family>) -> StepError {
                StepError::Router(error.into())
            }

            fn route_error(error: RouteError<$family>) -> StepError {
                StepError::$family(error)
            }
        }
    };
}

configured!(Ip4);
configured!(Ip6);

impl<F: Configured> From<RouterError<F>> for StepError {
    fn from(error: RouterError<F>) -> StepError {
        F::router_error(error)
    }
}

impl<F: Configured> From<RouteError<F>> for StepError {
    fn from(error: RouteError<F>) -> StepError {
        F::route_error(error)
    }
}
