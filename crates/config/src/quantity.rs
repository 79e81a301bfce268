//! Quantities with units: processors, memory, time. Each reader returns what it wants instead, for the remedy.

use jiff::SignedDuration;

/// GitHub ends a run after 35 days: nothing here lasts longer.
const DURATION_MAX: SignedDuration = SignedDuration::from_hours(35 * 24);
/// More than any machine has: a slip of the pen.
const CPU_MILLIS_MAX: u64 = 10_000_000;
/// 1 PiB, likewise.
const MEMORY_BYTES_MAX: u64 = 1 << 50;

/// `2`, `0.5` or `500m`: thousandths of a processor.
pub(crate) fn cpu_millis(text: &str) -> Result<u64, String> {
    let millis = match text.strip_suffix('m') {
        Some(millis) => decimal(millis, 1),
        None => decimal(text, 1_000),
    };
    millis
        .filter(|millis| (1..=CPU_MILLIS_MAX).contains(millis))
        .ok_or_else(|| "write how many processors, such as 2, 0.5 or 500m".to_owned())
}

/// `4GiB` or `512MB`: bytes.
pub(crate) fn memory_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    UNITS
        .iter()
        .find_map(|(unit, bytes)| decimal(text.strip_suffix(unit)?.trim_end(), *bytes))
        .filter(|bytes| (1..=MEMORY_BYTES_MAX).contains(bytes))
        .ok_or_else(|| {
            "write a size with its unit (KiB, MiB, GiB, TiB, or kB, MB, GB, TB), such as 4GiB"
                .to_owned()
        })
}

/// `90s`, `5m`, `1h30m`: longer than nothing.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .filter(|duration| *duration > SignedDuration::ZERO && *duration <= DURATION_MAX)
        .ok_or_else(|| "write a time with its unit, such as 90s, 5m or 1h30m; longer than nothing, at most 840h".to_owned())
}

/// A decimal number times `factor`, rounded down, without the detour through a float. Three places after the point
/// are enough for anything here.
fn decimal(text: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let places = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(factor)? / places;
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        let check =
            |text: &str, value: Option<u64>| assert_eq!(cpu_millis(text).ok(), value, "{text}");
        check("2", Some(2_000));
        check("0.5", Some(500));
        check("1.125", Some(1_125));
        check("500m", Some(500));
        check("0", None);
        check("0.0", None);
        check("-1", None);
        check("1.", None);
        check(".5", None);
        check("two", None);
        check("1e3", None);
        check("99999999999999999999", None);

        let check =
            |text: &str, value: Option<u64>| assert_eq!(memory_bytes(text).ok(), value, "{text}");
        check("4GiB", Some(4 << 30));
        check("1.5 GiB", Some(3 << 29));
        check("512MB", Some(512_000_000));
        check("4", None);
        check("4G", None);
        check("4Gi", None);
        check("0MiB", None);
        check("-4GiB", None);
        check("GiB", None);
        check("18446744073709551615TiB", None);

        let check = |text: &str, seconds: Option<i64>| {
            assert_eq!(duration(text).ok().map(|duration| duration.as_secs()), seconds, "{text}");
        };
        check("90s", Some(90));
        check("5m", Some(300));
        check("1h30m", Some(5_400));
        check("840h", Some(35 * 24 * 3_600));
        check("841h", None);
        check("0s", None);
        check("-5m", None);
        check("5", None);
        check("5 parsecs", None);
    }
}
