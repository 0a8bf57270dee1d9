//! The guest's address, which the kernel command line tells, as a file for systemd-networkd.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;

use crate::cmdline::Changes;
use crate::{Failure, root, sys};

/// What the command line says of the network card (Linux Documentation/admin-guide/nfs/nfsroot.rst, `ip=`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address.
    pub(crate) ip: Ipv4Addr,
    /// The length of the network's prefix.
    pub(crate) prefix: u32,
    /// The way to all other networks.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The network card's name; any card by default.
    pub(crate) device: Option<String>,
    /// The name servers.
    pub(crate) servers: Vec<Ipv4Addr>,
}

impl Address {
    /// Reads `CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF:DNS0:DNS1`. Without a client there is nothing to be
    /// told: the guest asks for its address.
    pub(crate) fn parse(value: &str) -> Result<Option<Self>, String> {
        let wrong = || format!("ip=`{value}` is not IP::GATEWAY:NETMASK:::off[:DNS[:DNS]]");
        let mut fields = value.split(':');
        let client = fields.next().unwrap_or_default();
        if !client.contains('.') {
            return Ok(None);
        }
        let mut next = || fields.next().unwrap_or_default();
        let address = |text: &str| match text {
            "" => Ok(None),
            text => text.parse::<Ipv4Addr>().map(Some).map_err(|_| wrong()),
        };
        let (_server, gateway, mask) = (next(), next(), next());
        let (_hostname, device, _autoconf) = (next(), next(), next());
        let mask = address(mask)?.ok_or_else(wrong)?.to_bits();
        if mask.leading_ones() + mask.trailing_zeros() != 32 || mask == 0 {
            return Err(wrong());
        }
        // A name of a card goes into a file.
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !device.chars().all(good) {
            return Err(wrong());
        }
        let servers = [address(next())?, address(next())?];
        Ok(Some(Self {
            ip: address(client)?.ok_or_else(wrong)?,
            prefix: mask.leading_ones(),
            gateway: address(gateway)?,
            device: (!device.is_empty()).then(|| device.to_owned()),
            servers: servers.into_iter().flatten().collect(),
        }))
    }

    /// The file for systemd-networkd (systemd.network(5)).
    fn network(&self) -> String {
        let device = self.device.as_deref().unwrap_or("en* eth*");
        let (ip, prefix) = (self.ip, self.prefix);
        let mut text = format!(
            "[Match]\nName={device}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nDHCP=no\nLinkLocalAddressing=no\n\
             IPv6AcceptRA=no\nAddress={ip}/{prefix}\n"
        );
        if let Some(gateway) = self.gateway {
            text.push_str(&format!("Gateway={gateway}\n"));
        }
        text
    }

    /// Tells the guest whose root is mounted.
    pub(crate) fn write(&self, changes: &Changes) -> Result<(), Failure> {
        let failed = |error: io::Error| format!("cannot tell the guest its address: {error}");
        let run = format!("{}/run", root::MOUNT_POINT);
        // systemd uses a /run that is mounted already.
        sys::mount("tmpfs", &run, "tmpfs", sys::Flags::NOSUID, "mode=0755").map_err(failed)?;
        let folder = format!("{run}/systemd/network");
        fs::create_dir_all(&folder).map_err(failed)?;
        fs::write(format!("{folder}/10-cmdline.network"), self.network()).map_err(failed)?;
        if self.servers.is_empty() || *changes != Changes::Ram {
            return Ok(());
        }
        let lines: Vec<String> = self
            .servers
            .iter()
            .map(|it| format!("nameserver {it}\n"))
            .collect();
        let file = format!("{}/etc/resolv.conf", root::MOUNT_POINT);
        // A link leads to what the guest itself writes.
        match fs::symlink_metadata(&file) {
            Ok(found) if !found.is_file() => Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => fs::write(&file, lines.concat()).map_err(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_file_for_networkd() {
        let text = "10.177.0.20::10.177.0.1:255.255.255.0::eth0:off:9.9.9.9:1.1.1.1";
        let address = Address::parse(text).unwrap().unwrap();
        assert_eq!(address.prefix, 24);
        assert_eq!(address.servers.len(), 2);
        let file = address.network();
        for line in [
            "Name=eth0",
            "Address=10.177.0.20/24",
            "Gateway=10.177.0.1",
            "DHCP=no",
        ] {
            assert!(file.lines().any(|it| it == line), "{file}");
        }
        let short = Address::parse("10.0.0.2:::255.0.0.0").unwrap().unwrap();
        assert!(short.network().contains("Name=en* eth*\n"));
        assert_eq!((short.gateway, short.prefix), (None, 8));
    }

    #[test]
    fn what_tells_no_address_is_left_to_the_guest_and_nonsense_is_refused() {
        for text in ["dhcp", "off", "", ":::::eth0:dhcp"] {
            assert_eq!(Address::parse(text).unwrap(), None, "{text}");
        }
        for text in [
            "10.0.0.2",
            "10.0.0.2:::255.0.255.0",
            "10.0.0:::255.0.0.0",
            "10.0.0.2::x:255.0.0.0",
            "10.0.0.2:::255.0.0.0::a\nb",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
