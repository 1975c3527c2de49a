//! This test program in another role: a test that is ignored, because it is the child that another test starts, kills or records.

use std::process::Command;

/// The command that runs the ignored test `name` of a module (`module_path!()`) alone.
pub fn role(module: &str, name: &str) -> Command {
    let path = module.split_once("::").map_or(module, |(_program, path)| path);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("{path}::{name}"), "--exact", "--ignored", "--nocapture"]);
    command
}
