mod config;
mod outages;
mod receivers;
mod worker;
