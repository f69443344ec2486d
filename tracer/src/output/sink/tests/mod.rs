mod config;
mod courier;
mod outages;
mod receivers;
