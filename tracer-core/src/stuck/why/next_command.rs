//! The command that shows an application's own view of what it does.

use super::process::{ProcessCondition, ProcessEvidence};
use super::runtime::Runtime;

impl ProcessEvidence {
    /// Returns the command that shows the application's own view of what its threads do, where one
    /// can work on such a process now. `None` where the process is held up so that it cannot.
    #[must_use]
    pub fn next_command(&self, pid: u32) -> Option<String> {
        let runtime = self.runtime?;
        let reads_memory = matches!(runtime, Runtime::Python | Runtime::Native);
        match self.condition? {
            // The tool would be a second debugger, or wait for the process to go on.
            ProcessCondition::Traced | ProcessCondition::Frozen => return None,
            ProcessCondition::Stopped | ProcessCondition::LeaderExited if !reads_memory => {
                return None;
            }
            ProcessCondition::Stopped
            | ProcessCondition::LeaderExited
            | ProcessCondition::Ordinary => {}
        }
        let attaches = !matches!(runtime, Runtime::Java | Runtime::Node | Runtime::DotNet);
        if attaches && self.tracer.is_some() {
            return None;
        }
        Some(match runtime {
            Runtime::Python => format!("py-spy dump --pid {pid}"),
            // jstack talks to the machine through a socket in its /tmp.
            Runtime::Java if self.shares_mounts == Some(true) => format!("jstack {pid}"),
            // The machine prints its threads on its own standard output, and goes on.
            Runtime::Java => format!("kill -QUIT {pid}"),
            Runtime::Node => format!("node inspect -p {pid}"),
            Runtime::Go => format!("dlv attach {pid}"),
            Runtime::DotNet => format!("dotnet-stack report -p {pid}"),
            Runtime::Ruby => format!("rbspy dump --pid {pid}"),
            Runtime::Native => format!("gdb -p {pid} -batch -ex 'thread apply all bt'"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(condition: ProcessCondition) -> ProcessEvidence {
        ProcessEvidence {
            condition: Some(condition),
            shares_mounts: Some(true),
            ..ProcessEvidence::unread(String::new())
        }
    }

    fn command(runtime: Runtime, process: &ProcessEvidence) -> Option<String> {
        let process = ProcessEvidence {
            runtime: Some(runtime),
            ..process.clone()
        };
        process.next_command(42)
    }

    #[test]
    fn each_runtime_has_a_tool_of_its_own() {
        let ordinary = process(ProcessCondition::Ordinary);
        let command = |runtime| command(runtime, &ordinary);
        assert_eq!(
            command(Runtime::Python).as_deref(),
            Some("py-spy dump --pid 42")
        );
        assert_eq!(command(Runtime::Java).as_deref(), Some("jstack 42"));
        assert_eq!(
            command(Runtime::Native).as_deref(),
            Some("gdb -p 42 -batch -ex 'thread apply all bt'")
        );
    }

    #[test]
    fn a_java_machine_in_a_container_prints_its_threads_itself() {
        let elsewhere = ProcessEvidence {
            shares_mounts: Some(false),
            ..process(ProcessCondition::Ordinary)
        };
        let command = command(Runtime::Java, &elsewhere);
        assert_eq!(command.as_deref(), Some("kill -QUIT 42"));
    }

    #[test]
    fn a_command_that_cannot_work_now_is_not_named() {
        let stopped = process(ProcessCondition::Stopped);
        assert_eq!(command(Runtime::Java, &stopped), None);
        assert!(command(Runtime::Python, &stopped).is_some());
        let traced = process(ProcessCondition::Traced);
        assert_eq!(command(Runtime::Native, &traced), None);
        let debugged = ProcessEvidence {
            tracer: Some(9),
            ..process(ProcessCondition::Ordinary)
        };
        assert_eq!(command(Runtime::Python, &debugged), None);
        assert_eq!(
            command(Runtime::Java, &debugged).as_deref(),
            Some("jstack 42")
        );
        let unread = ProcessEvidence::unread(String::new());
        assert_eq!(command(Runtime::Native, &unread), None);
    }
}
