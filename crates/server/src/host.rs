//! Which `Host` and `Origin` a request may carry: the defence against DNS rebinding and foreign web pages.

use crate::Config;
use http::{HeaderMap, Uri, header};
use std::net::IpAddr;

/// The names under which the server answers.
#[derive(Debug)]
pub(crate) struct HostList {
    names: Vec<String>,
    origins: Vec<String>,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HostFault {
    /// No host, or two, or not one that can be read.
    Malformed,
    /// A host that is not ours.
    ForeignHost,
    /// A web page of another origin.
    ForeignOrigin,
}

impl HostList {
    pub(crate) fn of(config: &Config) -> Self {
        let public = config.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
        let names = ["localhost"]
            .into_iter()
            .chain(config.host_names.iter().map(String::as_str))
            .chain(public.as_ref().and_then(Uri::host))
            .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
            .collect();
        Self { names, origins: config.allowed_origins.clone() }
    }

    /// Judge a request's head.
    pub(crate) fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), HostFault> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let named = match (hosts.next(), hosts.next()) {
            (_, Some(_)) => return Err(HostFault::Malformed),
            (Some(value), None) => Some(value.to_str().map_err(|_| HostFault::Malformed)?),
            (None, None) => None,
        };
        // HTTP/2 names the host in the target; where both do, both must be ours.
        let target = uri.authority().map(http::uri::Authority::as_str);
        if named.is_none() && target.is_none() {
            return Err(HostFault::Malformed);
        }
        for authority in [named, target].into_iter().flatten() {
            let authority = authority.parse::<http::uri::Authority>().map_err(|_| HostFault::Malformed)?;
            if !self.knows(authority.host()) {
                return Err(HostFault::ForeignHost);
            }
        }
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().map_err(|_| HostFault::ForeignOrigin)?;
            let ours = origin.parse::<Uri>().ok().and_then(|uri| uri.host().map(|host| self.knows(host)));
            if ours != Some(true) && !self.origins.iter().any(|allowed| allowed == origin) {
                return Err(HostFault::ForeignOrigin);
            }
        }
        Ok(())
    }

    /// An IP address is no name, so no foreign name server can have led a browser here with it.
    fn knows(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || self.names.iter().any(|name| name.eq_ignore_ascii_case(bare.trim_end_matches('.')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_and_addresses_are_admitted() {
        let mut config = Config::at(([127, 0, 0, 1], 0).into());
        config.host_names = vec!["soc.example.com".to_owned()];
        config.allowed_origins = vec!["https://portal.example.com".to_owned()];
        let list = HostList::of(&config);
        let page = |origin| ("localhost:80", Some(origin));
        for ((host, origin), wanted) in [
            (("localhost:8080", None), Ok(())),
            (("127.0.0.1", None), Ok(())),
            (("[::1]:9", None), Ok(())),
            (("SOC.example.com.", None), Ok(())),
            (("evil.example.com", None), Err(HostFault::ForeignHost)),
            (("localhost.evil.example", None), Err(HostFault::ForeignHost)),
            (("a b", None), Err(HostFault::Malformed)),
            (page("http://localhost:3000"), Ok(())),
            (page("https://portal.example.com"), Ok(())),
            (page("https://evil.example.com"), Err(HostFault::ForeignOrigin)),
            (page("null"), Err(HostFault::ForeignOrigin)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(list.admit(&Uri::from_static("/"), &headers), wanted, "{host} {origin:?}");
        }
        assert_eq!(list.admit(&Uri::from_static("/"), &HeaderMap::new()), Err(HostFault::Malformed));
    }
}
