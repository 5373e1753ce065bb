//! `posse serve`: one process with everything, until SIGTERM or SIGINT.

use crate::config::{self, Asked, Config, LogFormat, SyslogListener, SyslogProtocol, TlsFiles};
use crate::data_dir;
use crate::hooks::PlatformHooks;
use anyhow::Context as _;
use server::{Server, Tls};
use std::ffi::OsString;
use std::io::Write as _;
use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Carry out `posse serve` with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    match config::read(arguments, &|name| std::env::var(name).ok())? {
        Asked::Help => {
            std::io::stdout().write_all(config::HELP.as_bytes())?;
            Ok(())
        }
        Asked::Serve { data_dir, listen, config } => {
            log(config.log_format);
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(serve(&data_dir, &listen, &config))
        }
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("POSSE_LOG").unwrap_or_else(|_| EnvFilter::new("warn,posse=info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Pretty => builder.init(),
    }
}

async fn serve(data_dir: &Path, listen: &str, config: &Config) -> anyhow::Result<()> {
    let address = listen
        .to_socket_addrs()
        .with_context(|| format!("`{listen}` is no address; write HOST:PORT"))?
        .next()
        .with_context(|| format!("`{listen}` names no address"))?;
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (control, plane, feed) = data_dir::open(data_dir, config).await?;
    let running = control.start();
    feed.start(control.clone());
    let hooks = Arc::new(PlatformHooks::new(control.clone(), plane.clone(), Arc::clone(&feed)));
    let server = Server::bind(server_config(address, config)?, Arc::new(control), hooks).await?;
    // Held still: scripts wait for this line.
    println!("listening on {}", server.url());
    std::io::stdout().flush()?;
    if config.self_approval {
        tracing::warn!("self_approval is on: people may approve their own proposals");
    }
    let stop = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    server.run(stop).await;
    // What was taken is put into files before the state is closed.
    plane.stop().await;
    feed.stop().await;
    running.stop().await;
    Ok(())
}

fn identity(files: &TlsFiles) -> anyhow::Result<Tls> {
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("`{}` cannot be read", file.display()));
    let tls = Tls::from_pem(&read(&files.certificate_file)?, &read(&files.key_file)?);
    tls.context("the TLS identity cannot be used")
}

fn syslog(section: &SyslogListener, config: &Config) -> anyhow::Result<server::Syslog> {
    let wrong = || format!("`{}` of [[syslog]] is no address; write ADDRESS:PORT", section.listen);
    let protocol = match section.protocol {
        SyslogProtocol::Tcp => server::SyslogProtocol::Tcp,
        SyslogProtocol::Udp => server::SyslogProtocol::Udp,
        SyslogProtocol::Tls => {
            let files = section.tls.as_ref().or(config.tls.as_ref());
            let files = files.context("a [[syslog]] section with `tls` needs files, there or in [tls]")?;
            server::SyslogProtocol::Tls(identity(files)?)
        }
    };
    Ok(server::Syslog {
        listen: section.listen.to_socket_addrs().with_context(wrong)?.next().with_context(wrong)?,
        protocol,
        tenant: section.tenant,
        source: section.source.clone(),
        connections_max: section.connections_max.unwrap_or(1024),
        idle_timeout: Duration::from_secs(section.idle_secs.unwrap_or(600)),
    })
}

fn server_config(address: std::net::SocketAddr, config: &Config) -> anyhow::Result<server::Config> {
    let mut server = server::Config::at(address);
    server.public_url.clone_from(&config.public_url);
    server.host_names.clone_from(&config.host_names);
    server.authorization_servers.clone_from(&config.authorization_servers);
    server.calls_per_second = config.calls_per_second.unwrap_or_else(|| control::Settings::default().rate.per_second);
    if let Some(files) = &config.tls {
        server.tls = Some(identity(files)?);
    }
    server.syslog = config.syslog.iter().map(|section| syslog(section, config)).collect::<anyhow::Result<_>>()?;
    Ok(server)
}
