//! Commands that the guest runs by itself, and the agent that is told of them later.

use super::network::add_wait_for_network;
use super::tree::Tree;
use crate::facts::GuestFacts;
use crate::services::COMMANDS;

/// Unit that runs commands.
pub(crate) const EXECUTE_UNIT: &str = "bcvk-execute.service";

/// Adds what runs commands, but not the commands.
fn add_execution(tree: &mut Tree, facts: &GuestFacts) {
    tree.run_service(EXECUTE_UNIT, include_str!("../units/bcvk-execute.service"));
    add_wait_for_network(tree, facts);
}

/// Adds the commands of `list`, and starts them at the end of the boot.
pub(super) fn add_commands(tree: &mut Tree, list: &[String], facts: &GuestFacts) {
    add_execution(tree, facts);
    for (name, text) in commands(list) {
        tree.run_file(&name, text);
    }
    tree.run_wants("multi-user.target", EXECUTE_UNIT);
}

/// Returns files under `/run` with the commands to execute.
pub(crate) fn commands(commands: &[String]) -> impl Iterator<Item = (String, &str)> {
    let name = |index| format!("{COMMANDS}/{index:03}");
    let commands = commands.iter().enumerate();
    commands.map(move |(index, command)| (name(index), command.as_str()))
}

/// Adds the agent, for a VM that is saved before it knows what it is to do.
pub(super) fn add_agent(tree: &mut Tree, facts: &GuestFacts) {
    tree.run_service(
        "bcvk-agent.service",
        include_str!("../units/bcvk-agent.service"),
    );
    tree.run_wants("sysinit.target", "bcvk-agent.service");
    add_execution(tree, facts);
}
