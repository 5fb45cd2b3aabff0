//! The order in which the published rules see notes of one day.
//!
//! They sort by date with NumPy's default for Python objects, an introsort that is not stable: partitions of more than 16
//! are split at the median of first, middle and last, smaller ones are finished by insertion. Which of two equal notes
//! comes last decides which one stays, so the same exchanges are made here.

const SMALL: usize = 15;

/// The positions of `keys` in the order of that sort.
pub fn published_order<K: Ord>(keys: &[K]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    if keys.len() < 2 {
        return order;
    }
    let mut depth = 2 * keys.len().ilog2() as i64;
    let (mut low, mut high) = (0, keys.len() - 1);
    let mut pending: Vec<(usize, usize, i64)> = Vec::new();
    loop {
        if depth < 0 {
            heap_sort(&mut order[low..=high], keys);
        } else {
            while high - low > SMALL {
                let middle = partition(&mut order, keys, low, high);
                depth -= 1;
                if middle - low < high - middle {
                    pending.push((middle + 1, high, depth));
                    high = middle - 1;
                } else {
                    pending.push((low, middle - 1, depth));
                    low = middle + 1;
                }
            }
            insertion_sort(&mut order[low..=high], keys);
        }
        match pending.pop() {
            Some(next) => (low, high, depth) = next,
            None => return order,
        }
    }
}

/// Splits `order[low..=high]` (at least four) and tells where the middle value ended.
fn partition<K: Ord>(order: &mut [usize], keys: &[K], low: usize, high: usize) -> usize {
    let less = |a: usize, b: usize| keys[a] < keys[b];
    let middle = low + (high - low) / 2;
    if less(order[middle], order[low]) {
        order.swap(middle, low);
    }
    if less(order[high], order[middle]) {
        order.swap(high, middle);
    }
    if less(order[middle], order[low]) {
        order.swap(middle, low);
    }
    let pivot = order[middle];
    let (mut left, mut right) = (low, high - 1);
    order.swap(middle, right);
    loop {
        left += 1;
        while less(order[left], pivot) && left < right {
            left += 1;
        }
        right -= 1;
        while less(pivot, order[right]) && left < right {
            right -= 1;
        }
        if left >= right {
            break;
        }
        order.swap(left, right);
    }
    order.swap(left, high - 1);
    left
}

fn insertion_sort<K: Ord>(order: &mut [usize], keys: &[K]) {
    for i in 1..order.len() {
        let mut j = i;
        while j > 0 && keys[order[j]] < keys[order[j - 1]] {
            order.swap(j, j - 1);
            j -= 1;
        }
    }
}

fn heap_sort<K: Ord>(order: &mut [usize], keys: &[K]) {
    let sink = |order: &mut [usize], mut root: usize, end: usize| {
        let moved = order[root];
        while 2 * root + 1 < end {
            let mut child = 2 * root + 1;
            if child + 1 < end && keys[order[child]] < keys[order[child + 1]] {
                child += 1;
            }
            if keys[moved] >= keys[order[child]] {
                break;
            }
            order[root] = order[child];
            root = child;
        }
        order[root] = moved;
    };
    for root in (0..order.len() / 2).rev() {
        sink(order, root, order.len());
    }
    for end in (1..order.len()).rev() {
        order.swap(0, end);
        sink(order, 0, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equals_numpy_on_equal_keys() {
        // numpy 1.26: np.array([str(i % 3) for i in range(40)], dtype=object).argsort()
        let keys: Vec<usize> = (0..40).map(|i| i % 3).collect();
        assert_eq!(published_order(&keys), NUMPY_40);
    }

    #[rustfmt::skip]
    const NUMPY_40: [usize; 40] = [
        0, 36, 33, 30, 27, 24, 21, 18, 15, 12, 39, 9, 3, 6, 25, 37, 1, 34, 31, 28, 4, 10, 19, 16, 13, 7, 22, 14, 35, 8, 2, 32, 23, 29, 38, 26, 20, 5, 17, 11,
    ];

    proptest! {
        #[test]
        fn sorts_and_keeps_every_position(keys in proptest::collection::vec(0u8..6, 0..400)) {
            let order = published_order(&keys);
            let sorted: Vec<u8> = order.iter().map(|i| keys[*i]).collect();
            prop_assert!(sorted.is_sorted());
            let mut all = order.clone();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..keys.len()));
        }
    }
}
