//! SIGHUP: what of a new configuration takes effect at once.

use super::{Agent, Config, config, service};
use crate::notice::notice;

impl Agent {
    /// Takes the configuration anew. One that is wrong changes nothing.
    pub(super) fn reload(&mut self) {
        service::reloading();
        let read = match &self.file {
            Some(file) => Config::read(file),
            None => Ok(self.config.clone()),
        };
        match read {
            Ok(config) => {
                self.change(config);
                match &self.file {
                    Some(_) => notice!("the configuration was read again"),
                    None => notice!(
                        "files were opened anew; there is no configuration to read again (--config)"
                    ),
                }
            }
            Err(error) => {
                notice!("the configuration stays as it was: {error}");
                // Whoever rotates logs needs that whatever the file says by now.
                let outputs = self.config.outputs.clone();
                self.outputs.exchange(&outputs, &self.config.run_directory);
            }
        }
        service::ready();
    }

    fn change(&mut self, wanted: Config) {
        let Config {
            interval,
            stuck_after,
            max_connections,
            run_directory,
            trace,
            prometheus,
            outputs,
        } = wanted;
        self.config.interval = interval;
        if prometheus != self.config.prometheus {
            self.listen_anew(prometheus);
        }
        self.config.run_directory = run_directory;
        self.outputs.exchange(&outputs, &self.config.run_directory);
        self.config.outputs = outputs;
        let later = [
            ("stuck_after", stuck_after != self.config.stuck_after),
            (
                "max_connections",
                max_connections != self.config.max_connections,
            ),
            ("[trace]", trace != self.config.trace),
        ];
        for (name, _) in later.iter().filter(|(_, changed)| *changed) {
            notice!("the change of {name} takes effect when the agent is started again");
        }
    }

    /// The old endpoint goes first: the new one may want its port, on another address. Where that fails the old one is back.
    fn listen_anew(&mut self, wanted: config::Prometheus) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.stop();
        }
        match self.listen(&wanted) {
            Ok(endpoint) => {
                self.endpoint = endpoint;
                self.config.prometheus = wanted;
            }
            Err(error) => {
                notice!("the HTTP endpoint stays as it was: {error:#}");
                match self.listen(&self.config.prometheus) {
                    Ok(endpoint) => self.endpoint = endpoint,
                    Err(error) => {
                        notice!("there is no HTTP endpoint any more: {error:#}")
                    }
                }
            }
        }
    }
}
