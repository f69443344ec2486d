//! Real programs whose closes are watched: servers in the server's namespace, and one in the
//! client's, to which a proxy connects.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tcpclose_kit::process::ChildGuard;
use tcpclose_kit::skip::find_program;
use tcpclose_parity::segment::Endpoint;

use crate::network::{Network, Wire, address};

/// A program that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// A web server with short keepalive times.
    Nginx,
    /// A proxy before a web server in the client's namespace.
    Haproxy,
    /// That web server.
    Backend,
    /// Redis, which closes idle connections after a second.
    Redis,
    /// PostgreSQL.
    Postgresql,
    /// MariaDB.
    Mariadb,
    /// `openssl s_server`.
    Openssl,
    /// rsync's daemon.
    Rsync,
    /// `nc -l -k`.
    Netcat,
}

impl Service {
    /// All of them; the proxy's backend before the proxy.
    pub const ALL: [Self; 9] = [
        Self::Backend,
        Self::Nginx,
        Self::Haproxy,
        Self::Redis,
        Self::Postgresql,
        Self::Mariadb,
        Self::Openssl,
        Self::Rsync,
        Self::Netcat,
    ];

    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Backend => "haproxy to nginx",
            Self::Redis => "redis",
            Self::Postgresql => "PostgreSQL",
            Self::Mariadb => "MariaDB",
            Self::Openssl => "openssl",
            Self::Rsync => "rsync",
            Self::Netcat => "nc",
        }
    }

    /// The port it listens on.
    pub const fn port(self) -> u16 {
        match self {
            Self::Nginx => 8_080,
            Self::Haproxy => 8_081,
            Self::Backend => 8_082,
            Self::Redis => 6_379,
            Self::Postgresql => 5_432,
            Self::Mariadb => 3_306,
            Self::Openssl => 4_433,
            Self::Rsync => 8_730,
            Self::Netcat => 7_070,
        }
    }

    /// Where it runs.
    pub const fn endpoint(self) -> Endpoint {
        match self {
            Self::Backend => Endpoint::Client,
            _ => Endpoint::Server,
        }
    }

    /// The programs that it and its clients need.
    const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Nginx | Self::Backend => &["nginx"],
            Self::Haproxy => &["haproxy", "nginx"],
            Self::Redis => &["redis-server", "redis-cli"],
            Self::Postgresql => &["psql", "setpriv"],
            Self::Mariadb => &["mariadbd", "mariadb-install-db", "mariadb"],
            Self::Openssl => &["openssl"],
            Self::Rsync => &["rsync"],
            Self::Netcat => &["nc"],
        }
    }
}

/// The services that run. They end with this.
pub struct Services {
    /// Those that could be started.
    pub running: Vec<Service>,
    _processes: Vec<ChildGuard>,
}

impl Services {
    /// Starts all whose programs are installed, with their files below `directory`. Those that are
    /// missing are named on stderr.
    pub fn start(network: &Network, directory: &Path) -> Result<Self> {
        // PostgreSQL runs as another user.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        let mut services = Self {
            running: Vec::new(),
            _processes: Vec::new(),
        };
        for service in Service::ALL {
            let missing = service.needs().iter();
            let mut missing: Vec<_> = missing.filter(|it| find_program(it).is_none()).collect();
            let bin = postgresql_programs();
            if service == Service::Postgresql && bin.is_none() {
                missing.push(&"initdb");
            }
            if !missing.is_empty() {
                eprintln!(
                    "parity: {} is left out, install it for more: there is no {missing:?} here",
                    service.name()
                );
                continue;
            }
            let own = directory.join(service.port().to_string());
            fs::create_dir_all(&own)?;
            let prepared = prepare(service, &own)
                .with_context(|| format!("cannot prepare {}", service.name()))?;
            let ns = network.namespace_of(service.endpoint());
            let mut command = ns.command(&prepared[0]);
            let output = fs::File::create(own.join("output"))?;
            command
                .args(&prepared[1..])
                .current_dir(&own)
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output);
            services._processes.push(ChildGuard::spawn(&mut command)?);
            await_service(network, service).with_context(|| {
                let output = fs::read_to_string(own.join("output")).unwrap_or_default();
                format!("{} does not start: {output}", service.name())
            })?;
            services.running.push(service);
        }
        Ok(services)
    }
}

/// Connects until it listens: from where its clients are.
fn await_service(network: &Network, service: Service) -> Result<()> {
    const START_TIMEOUT: Duration = Duration::from_secs(30);
    let to = SocketAddr::new(
        address(Wire::Bridge, service.endpoint(), false),
        service.port(),
    );
    let from = network.namespace_of(service.endpoint().other());
    let began = Instant::now();
    while from.run(|| TcpStream::connect(to)).is_err() {
        if began.elapsed() > START_TIMEOUT {
            bail!("nothing listens on port {}", service.port());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Debian keeps PostgreSQL's programs in a directory of their version.
fn postgresql_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    bins.filter(|bin| bin.join("initdb").exists()).max()
}

/// Writes what a service needs below `own`, and returns its command.
fn prepare(service: Service, own: &Path) -> Result<Vec<String>> {
    let path = |name: &str| own.join(name).display().to_string();
    let port = service.port().to_string();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    Ok(match service {
        Service::Nginx | Service::Backend => {
            let www = own.join("www");
            fs::create_dir_all(&www)?;
            fs::write(www.join("small"), vec![b's'; 300])?;
            fs::write(www.join("large"), vec![b'l'; 400_000])?;
            fs::write(own.join("nginx.conf"), nginx_conf(own, service.port()))?;
            words(&format!("nginx -p {} -c {}", path(""), path("nginx.conf")))
        }
        Service::Haproxy => {
            fs::write(own.join("haproxy.cfg"), haproxy_cfg())?;
            words(&format!("haproxy -db -f {}", path("haproxy.cfg")))
        }
        Service::Redis => {
            let mut command = words(&format!(
                "redis-server --port {port} --protected-mode no --timeout 1 --dir {}",
                path("")
            ));
            command.extend(["--save", ""].map(str::to_owned));
            command
        }
        Service::Postgresql => prepare_postgresql(own, &port)?,
        Service::Mariadb => {
            let data = path("data");
            done(Command::new("mariadb-install-db").args([
                "--no-defaults",
                "--user=root",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                &format!("--datadir={data}"),
            ]))?;
            words(&format!(
                "mariadbd --no-defaults --user=root --datadir={data} --socket={} --port={port} \
                 --skip-grant-tables --skip-networking=0 --bind-address=* --wait-timeout=1",
                path("socket")
            ))
        }
        Service::Openssl => {
            let (key, certificate) = (path("key"), path("certificate"));
            let line = format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -subj /CN=parity"
            );
            done(Command::new("openssl").args(line.split(' ')))?;
            words(&format!(
                "openssl s_server -accept {port} -key {key} -cert {certificate} -www -quiet"
            ))
        }
        Service::Rsync => {
            let data = own.join("data");
            fs::create_dir_all(&data)?;
            fs::write(data.join("large"), vec![b'l'; 200_000])?;
            fs::write(
                own.join("rsyncd.conf"),
                format!(
                    "use chroot = no\nuid = root\ntimeout = 2\n[data]\npath = {}\nread only = yes\n",
                    data.display()
                ),
            )?;
            words(&format!(
                "rsync --daemon --no-detach --port {port} --config {}",
                path("rsyncd.conf")
            ))
        }
        Service::Netcat => words(&format!("nc -d -l -k 0.0.0.0 {port}")),
    })
}

fn prepare_postgresql(own: &Path, port: &str) -> Result<Vec<String>> {
    const AS_POSTGRES: [&str; 4] = [
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
    ];
    let bin = postgresql_programs().context("looked for before")?;
    done(Command::new("chown").arg("postgres").arg(own))?;
    let data = own.join("data").display().to_string();
    let program = |name: &str| bin.join(name).display().to_string();
    done(Command::new(AS_POSTGRES[0]).args(&AS_POSTGRES[1..]).args([
        &program("initdb"),
        "--no-sync",
        "--auth=trust",
        "-D",
        &data,
    ]))?;
    let hba = own.join("data/pg_hba.conf");
    let trusted = "host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n";
    fs::write(&hba, trusted)?;
    let mut command: Vec<String> = AS_POSTGRES.map(str::to_owned).into();
    command.extend([program("postgres"), "-D".to_owned(), data]);
    let own = own.display().to_string();
    command.extend(["-h", "*", "-p", port, "-k", &own].map(str::to_owned));
    Ok(command)
}

fn nginx_conf(own: &Path, port: u16) -> String {
    let own = own.display();
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {own}/pid;\nerror_log {own}/log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n access_log off;\n keepalive_timeout 1s;\n client_header_timeout 1s;\n send_timeout 1s;\n \
         client_body_temp_path {own}/body;\n proxy_temp_path {own}/proxy;\n fastcgi_temp_path {own}/fastcgi;\n \
         uwsgi_temp_path {own}/uwsgi;\n scgi_temp_path {own}/scgi;\n \
         server {{\n  listen {port};\n  listen [::]:{port};\n  root {own}/www;\n  \
         location /drop {{ return 444; }}\n  \
         location /reset {{ reset_timedout_connection on; return 444; }}\n  \
         location /impatient {{ lingering_close off; return 200 'no'; }}\n }}\n}}\n"
    )
}

fn haproxy_cfg() -> String {
    let backend = SocketAddr::new(
        address(Wire::Bridge, Endpoint::Client, false),
        Service::Backend.port(),
    );
    let port = Service::Haproxy.port();
    format!(
        "global\n maxconn 500\ndefaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n \
         timeout http-keep-alive 500ms\n\
         frontend front\n bind :::{port} v4v6\n use_backend nolinger if {{ path_beg /small }}\n \
         use_backend closing if {{ path_beg /large }}\n default_backend reusing\n\
         backend reusing\n server one {backend}\n\
         backend closing\n option http-server-close\n server one {backend}\n\
         backend nolinger\n option nolinger\n option httpclose\n server one {backend}\n"
    )
}

/// Runs a command to its end.
fn done(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {message}");
    }
    Ok(())
}
