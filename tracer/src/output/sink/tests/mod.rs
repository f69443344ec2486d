mod config;
mod courier;
