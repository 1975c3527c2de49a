//! A service to which the operating system tells little or nothing.

use std::process::Command;

use super::needs::{Need, skip};
use super::service::Service;
use super::site::Site;

/// Starts the service with these limits of inotify, in a user namespace of its own. None where that cannot be.
pub fn run_with_limits(site: &Site, instances: u32, watches: u32) -> Option<Service> {
    const LIMIT: &str = "echo $0 > /proc/sys/user/max_inotify_instances && echo $1 > /proc/sys/user/max_inotify_watches && shift && exec \"$@\"";
    let limited = |program: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", LIMIT]);
        command.args([instances.to_string(), watches.to_string()]).args(program);
        command
    };
    if !limited(&["true"]).status().is_ok_and(|status| status.success()) {
        skip(Need::InotifyLimits);
        return None;
    }
    let salver = site.salver();
    let program = salver.get_program().to_str().unwrap().to_owned();
    let config = site.path("salver.yaml").to_str().unwrap().to_owned();
    Some(Service::start(&mut limited(&[&program, "--config", &config, "-v", "run"])))
}
