mod config;
mod outages;
mod receivers;
mod sink_thread;
