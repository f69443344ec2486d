//! How full the routes of a host are: how many of the ports that connect() may choose are left for
//! a destination, as one scan of the host's sockets shows it.

mod recent;
mod report;
mod usage;

pub use recent::{RecentRoutes, RouteHistory};
pub use report::{RouteOwner, RouteReport, RoutesReport};
pub use usage::{Fullness, NEARLY_FULL_SHARE, PortHolder, PortSettings, RouteUsage, ScannedPort};
