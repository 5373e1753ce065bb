//! Where requests may go, and how large and slow an answer may be. Pure.

use crate::{Failure, is_public};
use reqwest::Url;
use std::net::IpAddr;
use std::time::Duration;

/// How a destination may be spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// Without TLS. For this machine and for networks that protect what they carry.
    Http,
    /// With TLS and a certificate that the machine trusts.
    Https,
}

impl Scheme {
    /// The word in an address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// One place that requests may go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    /// How.
    pub scheme: Scheme,
    /// A host name or address in lower case, or `*.example.com` for every name below one.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it may lie inside: this machine, private and link-local networks.
    pub private_addresses: bool,
}

impl Destination {
    /// The destination of this address, for example `https://siem.example.com:8443/api`. It must be public.
    ///
    /// # Errors
    /// [`Failure::InvalidRequest`] where the text is not an `http` or `https` address.
    pub fn of(address: &str) -> Result<Self, Failure> {
        let invalid = || Failure::InvalidRequest { url: address.chars().take(200).collect() };
        let url = Url::parse(address).map_err(|_| invalid())?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(invalid()),
        };
        let host = url.host_str().ok_or_else(invalid)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(invalid)?;
        Ok(Self { scheme, host, port, private_addresses: false })
    }

    /// The same destination, wherever it lies.
    #[must_use]
    pub fn also_private(self) -> Self {
        Self { private_addresses: true, ..self }
    }

    fn covers(&self, url: &Url) -> bool {
        let named = url.host_str().is_some_and(|host| self.covers_host(host));
        named && url.scheme() == self.scheme.as_str() && url.port_or_known_default() == Some(self.port)
    }

    fn covers_host(&self, host: &str) -> bool {
        match self.host.strip_prefix('*') {
            // The dot stays in the suffix, so that `*.example.com` covers neither `badexample.com` nor `example.com`.
            Some(suffix) if suffix.starts_with('.') => host.len() > suffix.len() && host.ends_with(suffix),
            _ => host == self.host,
        }
    }
}

/// What a client may do.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where requests may go; nothing else is reached, also not by redirect.
    pub destinations: Vec<Destination>,
    /// How many redirects are followed; each is judged like a request.
    pub redirects_max: usize,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long a pause between two parts of an answer may be.
    pub pause_timeout: Duration,
    /// How many bytes an answer's body may have.
    pub body_bytes_max: usize,
    /// Where a name led before; used where the resolver has no answer. Judged like any other address.
    pub remembered: Vec<(String, Vec<IpAddr>)>,
}

impl Policy {
    /// Only these destinations; no redirects; 10 s to connect, 60 s of silence, 16 MiB.
    #[must_use]
    pub const fn to(destinations: Vec<Destination>) -> Self {
        Self {
            destinations,
            redirects_max: 0,
            connect_timeout: Duration::from_secs(10),
            pause_timeout: Duration::from_secs(60),
            body_bytes_max: 16 << 20,
            remembered: Vec::new(),
        }
    }

    /// Judge an address as far as its text goes: the destination is allowed, and an address written out is too.
    pub(crate) fn judge(&self, url: &Url) -> Result<(), Failure> {
        let allowed: Vec<&Destination> = self.destinations.iter().filter(|place| place.covers(url)).collect();
        if allowed.is_empty() {
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or_default();
            return Err(Failure::NotAllowed { destination: format!("{}://{host}:{port}", url.scheme()) });
        }
        // A literal address never meets the resolver, so it is judged here.
        let host = url.host_str().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) if !is_public(address) && !allowed.iter().any(|place| place.private_addresses) => {
                Err(Failure::AddressNotAllowed { host: host.to_owned(), address })
            }
            _ => Ok(()),
        }
    }

    /// Where a name led before.
    pub(crate) fn remembered(&self, host: &str) -> &[IpAddr] {
        self.remembered.iter().find(|(name, _)| name == host).map_or(&[], |(_, addresses)| addresses)
    }

    /// Judge an address that a name resolved to.
    pub(crate) fn judge_address(&self, host: &str, address: IpAddr) -> Result<(), Failure> {
        let inside = self.destinations.iter().any(|place| place.private_addresses && place.covers_host(host));
        if inside || is_public(address) {
            Ok(())
        } else {
            Err(Failure::AddressNotAllowed { host: host.to_owned(), address })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(place: &Destination, address: &str) -> bool {
        Policy::to(vec![place.clone()]).judge(&Url::parse(address).unwrap()).is_ok()
    }

    #[test]
    fn only_what_is_named_is_reached() {
        let place = Destination::of("https://api.example.com/v1").unwrap();
        assert!(judged(&place, "https://api.example.com/v2?x=1"));
        assert!(judged(&place, "https://API.example.com:443/"));
        for other in [
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://example.com/",
            "https://api.example.com.evil.org/",
            "https://api.example.com@evil.org/",
        ] {
            assert!(!judged(&place, other), "{other}");
        }
        let below = Destination { host: "*.example.com".to_owned(), ..place };
        assert!(judged(&below, "https://a.b.example.com/"));
        assert!(!judged(&below, "https://example.com/") && !judged(&below, "https://badexample.com/"));
    }

    #[test]
    fn an_address_that_is_written_out_is_judged() {
        for address in ["http://127.0.0.1:8080/", "http://[::1]:8080/", "http://169.254.169.254/", "http://2130706433/"]
        {
            let place = Destination::of(address).unwrap();
            assert!(!judged(&place, address), "{address}");
            assert!(judged(&place.also_private(), address), "{address}");
        }
    }

    #[test]
    fn other_schemes_are_no_destination() {
        for text in ["ftp://example.com", "file:///etc/passwd", "example.com", ""] {
            assert!(matches!(Destination::of(text), Err(Failure::InvalidRequest { .. })), "{text}");
        }
    }
}
